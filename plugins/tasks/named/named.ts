/** NamedTasks holds the tasks of defineTasks(). Definitions are checked at boot, payloads at each enqueue(). */
import { TaskPayloadError, TaskUnknownError } from '../../shared/errors.ts'
import * as check from '../../shared/options.ts'
import type { TaskDefinitions } from './define.ts'
import { checkRunOptions, resolveRunOptions, type TaskOptions } from '../task-options.ts'
import { copyAsJson, UnstorableError } from './payload.ts'
import { compileSchema, type Validate } from './schema.ts'
import type { TaskContext } from '../task.ts'

/** How many characters of a payload's own text an error's message may hold. */
const MAX_REASON = 300

/** The largest bound by key: a script of Redis may look at all tasks of a key that run. */
const MAX_PER_KEY = 1_000

function copyOf (name: string, payload: unknown): unknown {
  try {
    return copyAsJson(payload)
  } catch (cause) {
    if (cause instanceof UnstorableError) throw new TaskPayloadError(name, cause.message.slice(0, MAX_REASON))
    throw new TaskPayloadError(name, 'can\'t be stored: reading it has thrown', { cause })
  }
}

async function checked (name: string, payload: unknown, validate: Validate): Promise<unknown> {
  let invalid: string | undefined
  try {
    invalid = await validate(payload)
  } catch (cause) {
    throw new TaskPayloadError(name, 'could not be checked: its schema has thrown', { cause })
  }
  if (invalid !== undefined) throw new TaskPayloadError(name, `isn't valid: ${invalid.slice(0, MAX_REASON)}`)
  return payload
}

function checkPerKey (option: string, concurrency: { perKey: number }): number {
  check.record(option, concurrency, ['perKey'])
  return check.integer(`${option}.perKey`, concurrency.perKey, { min: 1, max: MAX_PER_KEY })
}

interface Named {
  handler: (payload: never, context: TaskContext) => unknown
  defaults: TaskOptions
  validate: Validate | undefined
  perKey: number | undefined
}

export class NamedTasks {
  readonly #tasks = new Map<string, Named>()

  /** Rejects with FC_ERR_OPTION_INVALID. */
  static async load (definitions: TaskDefinitions, defaults: TaskOptions): Promise<NamedTasks> {
    const named = new NamedTasks()
    for (const [name, definition] of Object.entries(check.record('tasks.tasks', definitions) as TaskDefinitions)) {
      const prefix = `tasks.tasks.${name}`
      check.ensure(/^[\w.-]{1,64}$/.test(name), prefix,
        'a name of 1 to 64 letters, digits, dots, dashes and underscores', name)
      checkRunOptions(prefix, definition, ['handler', 'schema', 'concurrency'])
      named.#tasks.set(name, {
        handler: check.fn(`${prefix}.handler`, definition.handler),
        defaults: resolveRunOptions(prefix, definition, defaults),
        validate: definition.schema === undefined
          ? undefined
          : await compileSchema(`${prefix}.schema`, definition.schema),
        perKey: definition.concurrency === undefined
          ? undefined
          : checkPerKey(`${prefix}.concurrency`, definition.concurrency)
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

  /** Returns how many tasks of one key may run at once, over all processes. */
  perKey (name: string): number | undefined {
    return this.#get(name).perKey
  }

  /**
   * Returns the payload as the handler will get it, or a promise of it if the task has a schema.
   *
   * @throws FC_ERR_TASK_UNKNOWN, FC_ERR_TASK_PAYLOAD
   */
  accept (name: string, payload: unknown): unknown {
    const { validate } = this.#get(name)
    // The payload is copied before anything is awaited: the caller may go on to change it.
    const copy = copyOf(name, payload)
    return validate === undefined ? copy : checked(name, copy, validate)
  }

  run (name: string, payload: unknown, context: TaskContext): unknown {
    return this.#get(name).handler(payload as never, context)
  }

  #get (name: string): Named {
    const named = this.#tasks.get(name)
    if (named === undefined) throw new TaskUnknownError(name, [...this.names])
    return named
  }
}
