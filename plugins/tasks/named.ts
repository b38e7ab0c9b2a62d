/** The tasks of defineTasks(): checked at boot, their payloads at each enqueue. */
import { TaskPayloadError, TaskUnknownError } from '../errors.ts'
import * as check from '../options.ts'
import type { TaskDefinitions } from './define.ts'
import { checkRunOptions, resolveRunOptions, type TaskOptions } from './options.ts'
import { whyNotSerialisable } from './payload.ts'
import { compileSchema, type Validate } from './schema.ts'
import type { TaskContext } from './attempt.ts'

interface Named {
  handler: (payload: never, context: TaskContext) => unknown
  defaults: TaskOptions
  validate: Validate | undefined
}

export class NamedTasks {
  readonly #tasks = new Map<string, Named>()

  /** Rejects with FC_ERR_OPTION_INVALID. */
  static async load (definitions: TaskDefinitions, defaults: TaskOptions): Promise<NamedTasks> {
    const named = new NamedTasks()
    for (const [name, definition] of Object.entries(check.record('tasks.tasks', definitions) as TaskDefinitions)) {
      const prefix = `tasks.tasks.${name}`
      check.ensure(/^[\w.-]{1,64}$/.test(name), prefix, 'a name of 1 to 64 letters, digits, dots, dashes and underscores', name)
      checkRunOptions(prefix, definition, ['handler', 'schema'])
      named.#tasks.set(name, {
        handler: check.fn(`${prefix}.handler`, definition.handler),
        defaults: resolveRunOptions(prefix, definition, defaults),
        validate: definition.schema === undefined ? undefined : await compileSchema(`${prefix}.schema`, definition.schema)
      })
    }
    return named
  }

  get names (): string[] {
    return [...this.#tasks.keys()]
  }

  defaults (name: string): TaskOptions {
    return this.#get(name).defaults
  }

  /** The payload as the handler will get it. Throws FC_ERR_TASK_UNKNOWN or FC_ERR_TASK_PAYLOAD. */
  async accept (name: string, payload: unknown): Promise<unknown> {
    const { validate } = this.#get(name)
    const bad = whyNotSerialisable(payload)
    if (bad !== undefined) throw new TaskPayloadError(name, bad)
    // Copied before anything is awaited: the caller may go on to change its own.
    const copy: unknown = payload === undefined ? undefined : JSON.parse(JSON.stringify(payload))
    const invalid = await validate?.(copy)
    if (invalid !== undefined) throw new TaskPayloadError(name, `isn't valid: ${invalid}`)
    return copy
  }

  run (name: string, payload: unknown, context: TaskContext): unknown {
    return this.#get(name).handler(payload as never, context)
  }

  #get (name: string): Named {
    const named = this.#tasks.get(name)
    if (named === undefined) throw new TaskUnknownError(String(name), this.names.join(', ') || 'none')
    return named
  }
}
