/**
 * Creates the decorator `app.workers`. It completes each call with the current request and with the defaults of the job
 * and of the pool.
 */
import { AsyncResource } from 'node:async_hooks'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { isMoved } from '../../workers/cloneable.ts'
import type { Jobs } from '../../workers/jobs.ts'
import { timeLeft } from '../cancellation/handler-timeout.ts'
import { endSignalOf, isOver } from '../cancellation/request-end.ts'
import type { RunningJob } from '../core/ledger/counts.ts'
import { currentPart, Work } from '../cancellation/ambient.ts'
import { JobUnknownError, PayloadNotCloneableError, WorkersOverloadedError } from '../shared/errors.ts'
import { ensure } from '../shared/options.ts'
import { addressKey, addressReader } from '../shared/address-key.ts'
import { isCausedOutside, type JobSettings } from './job.ts'
import { mapOrdered } from './pool/map.ts'
import { checkRunOptions, type ResolvedOptions, type RunOptions } from './options.ts'
import type { Pool } from './pool/pool.ts'
import type { RegisteredJob, Registry } from './registry.ts'
import type { PoolStats } from './ledger.ts'
import type { JobName, JobPayload, JobResult, RunArguments } from './types.ts'

/** A pool of worker threads, typed by the jobs that it runs. */
export interface Workers<J extends Jobs> {
  /**
   * Runs a job on a worker thread, once one is free. Use this method for work that computes for a millisecond or more;
   * use `map()` for many items, and a task for work that waits for I/O and outlives its request. A job that can't be
   * served in time is refused at once.
   *
   * In a handler the job belongs to the request: it is aborted when the client leaves or the request has been answered,
   * and its log lines carry the request's id. The payload is cloned when a thread takes the job, not before: don't
   * change it meanwhile.
   *
   * @returns what the job returned, cloned or transferred
   * @throws FC_ERR_WORKERS_OVERLOADED (503, Retry-After) it can't be served in time; FC_ERR_JOB_TIMEOUT (504);
   * FC_ERR_JOB_ABORTED (499); FC_ERR_JOB_CRASHED (500) its thread died; FC_ERR_PAYLOAD_NOT_CLONEABLE,
   * FC_ERR_RESULT_NOT_CLONEABLE; FC_ERR_CLOSING (503); or the job's own error, with its code, status code, fields and
   * cause
   */
  run<Name extends JobName<J>> (name: Name, ...args: RunArguments<JobPayload<J, Name>,
    RunOptions>): Promise<JobResult<J, Name>>

  /**
   * Runs a job for each item, as many at a time as keep the threads busy and no more: a large array neither fills the
   * queue nor takes more than one caller's share. Use this method in place of `Promise.all()` over `run()`.
   *
   * @returns the results, in the order of the items
   * @throws the first error, once all other jobs of the call have been aborted
   */
  map<Name extends JobName<J>> (
    name: Name,
    items: Iterable<JobPayload<J, Name>>,
    options?: Omit<RunOptions, 'transferList'>
  ): Promise<Array<JobResult<J, Name>>>

  /**
   * Reports whether `run()` would admit a job now: it would start it, or let it wait. Use this method before costly
   * preparation, such as receiving an upload, or to choose something cheaper. Nothing is reserved, so a job that is run
   * later may be refused nevertheless. For work without preparation call `run()`, whose refusal carries Retry-After.
   *
   * @param options those that `run()` will get: the answer depends on key, priority and timeout
   */
  canRun (name: JobName<J>, options?: RunOptions): boolean

  /**
   * Returns the jobs that threads run now, the longest first. Use this method for a page or a tool of operators;
   * `stats()` has the counts.
   */
  running (): Array<RunningJob<JobName<J>>>

  /**
   * Aborts a job by its id, for operators: its caller gets FC_ERR_JOB_ABORTED. Code that runs a job aborts it with a
   * signal instead.
   *
   * @returns false if no caller waits for a job of this id: it has ended, or was aborted before
   */
  cancel (id: string): boolean

  /** Resolves when no job runs or waits. */
  idle (): Promise<void>

  /** Returns counts and times since the pool was started. */
  stats (): PoolStats<JobName<J>>
}

/**
 * The work, in ms, that one map() keeps ready for each thread: enough that no thread waits, and that many short jobs go
 * in one message.
 */
const MAP_AHEAD_MS = 2
/** The jobs of one map() for each thread, at most. */
const MAX_MAP_JOBS_PER_THREAD = 64

/**
 * Follows `promise`. If nobody awaits the returned promise, an error that no code of the application caused doesn't end
 * the process.
 */
function quiet<T> (promise: Promise<T>): Promise<T> {
  const quieted = new Promise<T>((resolve, reject) => {
    promise.then(resolve, (error: unknown) => {
      if (isCausedOutside(error)) quieted.catch(() => {})
      reject(error)
    })
  })
  return quieted
}

/** @internal Left out of the published declarations, and with it all that the pool is made of. */
export function createWorkers<J extends Jobs> (pool: Pool, registry: Registry, options: ResolvedOptions,
  app: FastifyInstance): Workers<J> {
  const addressOf = addressReader(app)
  const byName = new Map(registry.jobs.map((job) => [job.name, job]))
  const noOptions: RunOptions = {}
  const noSignals: readonly AbortSignal[] = []

  /** @throws JobUnknownError */
  function jobOf (name: string): RegisteredJob {
    const job = byName.get(name)
    if (job === undefined) throw new JobUnknownError(name, registry.names)
    return job
  }

  /** Completes what a caller asks for with the request, the defaults of the job and those of the pool. */
  function settingsOf (registered: RegisteredJob, payload: unknown, run: RunOptions, also?: AbortSignal): JobSettings {
    if (run !== noOptions) checkRunOptions(run)
    if (typeof payload === 'object' && isMoved(payload)) {
      throw new PayloadNotCloneableError(registered.name,
        'piscina\'s move() has no effect here: pass the value, and its buffers in transferList')
    }
    const part = currentPart()
    const request: FastifyRequest | undefined = run.request ??
      (options.ambient && !(part instanceof Work) ? part : undefined)
    let signals = noSignals
    if (run.signal !== undefined) signals = [run.signal]
    if (also !== undefined) signals = [...signals, also]
    const client = run.detached === true ? undefined : request
    // Before admission: a job whose answer nobody can receive must not take a place in the queue from others.
    const ended = client !== undefined && isOver(client) ? endSignalOf(client) : undefined
    if (ended !== undefined) signals = [...signals, ended]
    const timeout = registered.timeout ?? options.timeout
    return {
      payload,
      signals,
      client,
      request,
      key: run.key ?? (request === undefined ? '' : addressKey(addressOf(request))),
      priority: run.priority ?? registered.priority,
      timeout: run.timeout ?? (client === undefined ? timeout : Math.min(timeout, timeLeft(client))),
      transferList: run.transferList,
      // In the caller's context: it may run jobs of the same request.
      onProgress: run.onProgress && AsyncResource.bind(run.onProgress),
      // A job that a task runs logs as a part of the task.
      log: request?.log ?? (part instanceof Work ? part.log : app.log)
    }
  }

  function start (name: string, payload: unknown, run: RunOptions, also?: AbortSignal): Promise<unknown> {
    const registered = jobOf(name)
    return pool.run(registered, settingsOf(registered, payload, run, also))
  }

  async function map (name: string, items: Iterable<unknown>, run: RunOptions): Promise<unknown[]> {
    const { index } = jobOf(name)
    ensure(typeof items?.[Symbol.iterator] === 'function', 'map.items', 'an iterable', items)
    const capacity = options.maxThreads + options.maxQueue
    const width = (): number => {
      const perThread = Math.max(2, Math.ceil(MAP_AHEAD_MS / (pool.estimate(index) ?? Infinity)))
      return Math.min(capacity, options.maxThreads * Math.min(MAX_MAP_JOBS_PER_THREAD, perThread))
    }
    const each = (item: unknown, signal: AbortSignal): Promise<unknown> => start(name, item, run, signal)
    const isRefusal = (error: unknown): boolean => error instanceof WorkersOverloadedError
    return await mapOrdered<unknown, unknown>(items, each, { width, isRefusal })
  }

  return {
    // Not an async function, which would take two more turns of the microtask queue for each job.
    run (name, ...[payload, run = noOptions]) {
      try {
        return start(name, payload, run) as Promise<JobResult<J, typeof name>>
      } catch (error) {
        return Promise.reject(error as Error)
      }
    },

    map (name, items, run = noOptions) {
      return quiet(map(name, items, run)) as Promise<Array<JobResult<J, typeof name>>>
    },

    canRun (name, run = noOptions) {
      const registered = jobOf(name)
      return pool.canRun(registered, settingsOf(registered, undefined, run))
    },

    running: () => pool.running() as Array<RunningJob<JobName<J>>>,
    cancel: (id) => pool.cancel(id),
    idle: () => pool.idle(),
    stats: () => pool.stats() as PoolStats<JobName<J>>
  }
}
