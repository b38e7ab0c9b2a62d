// What many tests need. It defines no test.
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import { Writable } from 'node:stream'
import workers, { type RunOptions, type Workers, type WorkersOptions } from '../plugins/workers/index.ts'
import { assertIdle } from '../plugins/testing.ts'
import { jobs } from './fixtures/jobs.ts'

/** What threads and processes of a test run TypeScript with. */
export const execArgv = ['--conditions=fastify-concurrency-source', '--import', new URL('../loader/typescript.js', import.meta.url).href]

export type TestJobs = typeof jobs
export type TestWorkers = Workers<TestJobs>

export interface LogLine {
  level: number
  msg: string
  [field: string]: unknown
}

/** A pino destination that keeps the lines. */
export function logLines (): { lines: LogLine[], logger: NonNullable<FastifyServerOptions['logger']> } {
  const lines: LogLine[] = []
  const stream = new Writable({
    write (chunk: Buffer, _encoding, done) {
      for (const line of chunk.toString().trim().split('\n')) lines.push(JSON.parse(line) as LogLine)
      done()
    }
  })
  return { lines, logger: { level: 'debug', stream } }
}

/** An app with the pool of the test jobs, ready, closed with the test. */
export async function startApp (t: Test, options: Partial<WorkersOptions> = {}, server: FastifyServerOptions = {}, routes: (app: FastifyInstance, workers: TestWorkers) => void = () => {}): Promise<{ app: FastifyInstance, workers: TestWorkers }> {
  const app = Fastify(server) as unknown as FastifyInstance
  t.teardown(async () => {
    await app.close()
    await assertIdle(app)
  })
  await app.register(workers, { jobs, maxThreads: 1, grace: 200, execArgv, ...options })
  const decorated = app.getDecorator<TestWorkers>(options.decorator ?? 'workers')
  routes(app, decorated)
  await app.ready()
  return { app, workers: decorated }
}

export interface Deferred<T = void> {
  readonly promise: Promise<T>
  resolve (value: T): void
}

/** A barrier: tests wait for what they mean, never for a time. */
export function deferred<T = void> (): Deferred<T> {
  let resolve!: (value: T) => void
  return { promise: new Promise<T>((_resolve) => { resolve = _resolve }), resolve: (value) => resolve(value) }
}

/** Resolves when `holds` does; looks again after each turn of the event loop. Fails after `ms`, which is generous. */
export async function until (holds: () => boolean, what: string, ms = 10_000): Promise<void> {
  const end = performance.now() + ms
  while (!holds()) {
    if (performance.now() > end) throw new Error(`Not within ${ms} ms: ${what}`)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** The error that a promise rejects with; fails if it resolves. */
export async function rejection (promise: Promise<unknown>): Promise<Error & Record<string, unknown>> {
  try {
    await promise
  } catch (error) {
    return error as Error & Record<string, unknown>
  }
  throw new Error('It resolved, and was to reject')
}

/** Runs a job that reports `started`, and waits for it: from then on it is on its thread, not only on its way there. */
export async function startJob (workers: TestWorkers, name: 'spin' | 'rest' | 'stubborn', payload: { ms: number }, options: RunOptions = {}): Promise<{ ended: Promise<unknown> }> {
  const started = deferred<unknown>()
  const ended = workers.run(name, payload, { ...options, onProgress: started.resolve })
  ended.catch(() => {})
  await Promise.race([started.promise, ended])
  return { ended }
}

/** Holds a pool's only thread between two jobs: what it is handed meanwhile doesn't start. Returns what lets it go, or ends it. */
export async function holdThread (workers: TestWorkers): Promise<{ release (): void, end (): void }> {
  const flags = new Int32Array(new SharedArrayBuffer(8))
  const say = (how: number): void => {
    Atomics.store(flags, 1, how)
    Atomics.notify(flags, 1)
  }
  await workers.run('hold', flags)
  await until(() => Atomics.load(flags, 0) === 1, 'it holds its thread')
  return { release: () => say(1), end: () => say(2) }
}
