/**
 * A named task is an async function with a name and a payload that can be stored, so that it may run later, in another
 * process.
 */
import type { Register } from '../../register.ts'
import type { TaskRunOptions } from '../task-options.ts'
import type { TaskContext } from '../task.ts'

/** A named task: its handler, and how it is tried. */
export interface TaskDefinition<Payload = never, Result = unknown> extends TaskRunOptions {
  /** Runs the task. Its errors are tried again, up to `retries` times. */
  handler: (payload: Payload, context: TaskContext) => Result | Promise<Result>
  /**
   * Checks each payload before it is accepted: JSON Schema, or anything with `~standard` (zod, valibot, arktype, …).
   */
  schema?: object
  /**
   * `perKey` bounds how many tasks of one key run at once, over all processes; keys then take turns, however many tasks
   * each has stored. The key is given to enqueue(). Needs `redis`.
   * @default no bound: tasks run in the order of their acceptance
   */
  concurrency?: {
    /** How many tasks of one key may run at once, over all processes: a whole number from 1. */
    perKey: number
  }
}

type Handler = (payload: never, context: TaskContext) => unknown

interface DefinedTask<Handle extends Handler> extends Omit<TaskDefinition, 'handler'> {
  handler: Handle
}

/** Definitions of tasks, by name. Made by `defineTasks()`. */
export type TaskDefinitions = Readonly<Record<string, TaskDefinition>>

/**
 * Returns `definitions`, typed. Register the tasks plugin with `{ tasks }`, which checks them.
 *
 * @example
 * export const tasks = defineTasks({
 *   welcome: { handler: async ({ to }: { to: string }, { signal }) => sendWelcome(to, { signal }), retries: 5 }
 * })
 * declare module 'fastify-concurrency' { interface Register { tasks: typeof tasks } }
 */
export function defineTasks<Handlers extends Readonly<Record<string, Handler>>> (
  // Inferred backwards, from each definition to its handler: a type parameter for the definition itself would let
  // misspelt options pass. `Handler` gives a handler without annotations the type of its context.
  definitions: { readonly [Name in keyof Handlers]: DefinedTask<Handler & Handlers[Name]> }
): { readonly [Name in keyof Handlers]: DefinedTask<Handlers[Name]> } {
  return definitions
}

/** The application's tasks, from its `Register`. Without a `Register`, any name and any payload is accepted. */
export type RegisteredTasks = Register extends {
  tasks: infer Definitions extends TaskDefinitions
} ? Definitions : Record<string, TaskDefinition<unknown>>

export type TaskName = keyof RegisteredTasks & string

export type PayloadOf<Definition> = Definition extends {
  handler: (...args: infer Args) => unknown
} ? Args extends [] ? undefined : Args[0] : never

export type ResultOf<Definition> = Definition extends {
  handler: (...args: never[]) => infer Result
} ? Awaited<Result> : never

/** The arguments of enqueue() after the name. The payload may be left out if the handler takes none. */
export type EnqueueArgs<Payload, Options> = undefined extends Payload
  ? [payload?: Payload, options?: Options]
  : [payload: Payload, options?: Options]
