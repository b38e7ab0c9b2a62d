/**
 * Defines jobs. The main thread imports this module for names and types, and every worker thread to run the jobs. It
 * loads nothing outside itself, so that a thread doesn't load fastify (a thread that does takes 65 ms to start, not
 * 14).
 */
import type { MessagePort } from 'node:worker_threads'
import type { JobContext } from './context.ts'

export type { JobContext, JobLogger } from './context.ts'
export { SharedCounter, SharedFlag } from './shared-memory.ts'

/** A job. A worker thread runs one at a time, so CPU-bound work may be synchronous. */
// `never` makes every job assignable here, whatever its payload.
export type JobFunction<Payload = never,
  Result = unknown> = (payload: Payload, context: JobContext) => Result | Promise<Result>

/** The job itself, or a module whose default export it is; `import()` of a CommonJS module wraps that once more. */
export type JobModule = JobFunction | { readonly default: JobFunction } | {
  readonly default: { readonly default: JobFunction }
}

/** The order in the queue: a job of a higher priority runs before those of a lower one. */
export type Priority = 'high' | 'normal' | 'low'

/** A job with options, or one that only worker threads load. */
export interface JobDefinition<Module extends JobModule = JobModule> {
  /**
   * Imports the job, in a worker thread only. Use it in place of the function itself if the job's module is heavy.
   * @example () => import('./jobs/thumbnail.ts')
   */
  readonly load: () => Promise<Module>
  /**
   * The deadline over queue and run, in ms from the call of `run()`; `Infinity` for none.
   * @default the pool's `timeout`
   */
  readonly timeout?: number
  /**
   * The number of threads that this job may hold at a time: keeps a slow job from taking the whole pool.
   * @default Infinity
   */
  readonly concurrency?: number
  /**
   * The class in which the job is served. Classes are weighted, and jobs that wait rise: none starves.
   * @default 'normal'
   */
  readonly priority?: Priority
}

/** Modules by the names of their jobs. */
export type JobModules = Record<string, JobModule>

/** Jobs by name. Made by {@link defineJobs}. */
export interface Jobs<Modules extends JobModules = JobModules> {
  /** The module that worker threads import. */
  readonly url: string
  /** The definition of each job. */
  readonly definitions: { readonly [Name in keyof Modules]: JobDefinition<Modules[Name]> }
}

// Inferred backwards, from each entry to its module: a type parameter for the entry itself would let misspelt options
// pass.
type JobEntries<Modules extends JobModules> = {
  readonly [Name in keyof Modules]: JobDefinition<Modules[Name]> | (Modules[Name] & JobFunction)
}

const brand = Symbol.for('fastify-concurrency.jobs')
const defined = Symbol.for('fastify-concurrency.jobs.defined')

/**
 * Names the jobs of a pool. Call it at the top level of a module that starts nothing: every worker thread imports that
 * module.
 *
 * A job is a function, which the main thread loads too, or a definition that says how worker threads load it. Use a
 * definition if the job has options, or if its module is heavy.
 *
 * @param url the module that makes this call: `import.meta.url`, or `__filename` in CommonJS
 * @throws FC_ERR_JOBS_INVALID one of the arguments is missing
 * @example
 * export const jobs = defineJobs(import.meta.url, {
 *   primes,
 *   thumbnail: { load: () => import('./jobs/thumbnail.ts'), timeout: 5_000 }
 * })
 */
export function defineJobs<Modules extends JobModules> (url: string | URL,
  entries: JobEntries<Modules>): Jobs<Modules> {
  const definitions = definitionsOf(entries) as Jobs<Modules>['definitions']
  const jobs = Object.freeze({ [brand]: true, url: urlOf(url), definitions })
  // A bundler may rename or drop the export, so a thread finds the jobs of the module it imported here and not by
  // export name.
  const list: unknown[] | undefined = (globalThis as { [defined]?: unknown[] })[defined]
  list?.push(jobs)
  return jobs
}

function urlOf (url: unknown): string {
  try {
    if (typeof url === 'string' || url instanceof URL) return String(url)
  } catch {} // A revoked Proxy.
  return refuse('import.meta.url as the first argument, or __filename in CommonJS', url)
}

function definitionsOf (entries: unknown): Record<string, unknown> {
  try {
    return Object.fromEntries(Object.entries(entries as object).map(([name, entry]) => {
      return [name, typeof entry === 'function' ? { load: async () => entry } : entry]
    }))
  } catch { // No object, or one that can't be read.
    return refuse('an object of jobs as the second argument', entries)
  }
}

/** @throws FC_ERR_JOBS_INVALID */
function refuse (expected: string, received: unknown): never {
  const what = received === null ? 'null' : `a value of type ${typeof received}`
  const message = `defineJobs() expected ${expected}, and received ${what}`
  throw Object.assign(new Error(message), { code: 'FC_ERR_JOBS_INVALID', statusCode: 500 })
}

/** @internal */
export function isJobs (value: unknown): value is Jobs {
  return typeof value === 'object' && value !== null && brand in value
}

/** Runs `importer` and returns all that was defined meanwhile. @internal */
export async function collectJobs (importer: () => Promise<unknown>): Promise<Jobs[]> {
  const list: Jobs[] = (globalThis as { [defined]?: Jobs[] })[defined] ??= []
  await importer()
  return list
}

const transferred = Symbol.for('fastify-concurrency.transfer')

interface Transfer {
  readonly [transferred]: readonly Transferable[]
  readonly value: unknown
}

/** What structured clone can move between threads. */
export type Transferable = ArrayBuffer | MessagePort

/**
 * Returned by a job: its result, with buffers that move to the main thread and aren't copied.
 * A `Buffer` may be a view on memory that it shares: transfer only buffers that the job itself allocated.
 *
 * @example return transfer({ width, pixels }, [pixels.buffer])
 */
export function transfer<T> (value: T, transferList: readonly Transferable[]): T {
  // Typed as the value, since that is what the caller of run() gets.
  return { [transferred]: transferList, value } satisfies Transfer as unknown as T
}

/** @internal */
export function asTransfer (result: unknown): { value: unknown, transferList: readonly Transferable[] } | undefined {
  if (typeof result !== 'object' || result === null || !(transferred in result)) return undefined
  const { value, [transferred]: transferList } = result as Transfer
  return { value, transferList }
}
