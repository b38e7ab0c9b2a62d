/**
 * The adapter for piscina, and the only file that knows it. Each thread has a piscina pool of its own, which holds at
 * most that one thread and ends with it. Piscina starts the thread, applies its limits and carries our host. Its queue,
 * its cancellation and its respawn are not used. The respawn would start a thread before the last one is gone, and
 * starts none once a thread has failed before it was ready. The one task of a thread leaves a host behind, which
 * listens to a port of ours: to piscina the thread is idle from then on. What this file leans on is pinned by
 * test/workers/threads/piscina.test.ts.
 */
import { existsSync } from 'node:fs'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { MessagePort, ResourceLimits, Worker } from 'node:worker_threads'
import { Piscina } from 'piscina'
import type { HostData } from '../../../workers/protocol.ts'
import { JobsInvalidError } from '../../shared/errors.ts'

/** The same expression finds host.ts beside the sources and host.js in the build. */
const hostUrl = new URL('../../../workers/host' + extname(import.meta.url), import.meta.url)

export interface ThreadSettings {
  readonly resourceLimits: ResourceLimits
  readonly execArgv?: readonly string[]
  readonly env?: Readonly<Record<string, string | undefined>>
}

/** @throws JobsInvalidError if a bundler has left the host behind */
export function checkHost (): void {
  if (existsSync(hostUrl)) return
  throw new JobsInvalidError(
    `There is no ${fileURLToPath(hostUrl)}: bundlers must keep fastify-concurrency external (esbuild: packages: 'external')`)
}

/** A thread of the operating system, from its start until it is gone. */
export class OsThread {
  readonly #pool: Piscina
  readonly #worker: Worker
  #error: Error | undefined
  #alive = true

  /**
   * Starts a thread, and the host in it.
   * @param onGone called once, when the thread is gone, with what ended it
   * @throws the error of worker_threads if there can't be a thread, such as the operating system's EAGAIN
   */
  constructor ({ resourceLimits, execArgv, env }: ThreadSettings, data: HostData, onGone: (error: Error) => void) {
    // Piscina forwards only these options to Worker. Its `name` is the exported function that it calls, not the
    // thread's name.
    this.#pool = new Piscina({
      filename: hostUrl.href,
      minThreads: 0,
      maxThreads: 1,
      maxQueue: 1,
      idleTimeout: Infinity,
      // 'sync' freezes the event loop of an idle worker: timers and ports that a job left behind wouldn't fire.
      atomics: 'disabled',
      recordTiming: false,
      resourceLimits,
      ...(execArgv !== undefined && { execArgv: [...execArgv] }),
      ...(env !== undefined && { env: env as Record<string, string> })
    })
    // The 'error' event of the worker reports the same failure.
    this.#pool.on('error', () => {})
    // A host that fails by itself leaves its thread alive.
    this.#pool.run(data,
      { transferList: [data.port as MessagePort] }).catch((error: unknown) => this.end(error as Error))
    this.#worker = this.#pool.threads[0] as Worker
    this.hold(true)
    this.#worker.once('error', (error: unknown) => {
      this.#alive = false
      this.#error ??= error instanceof Error
        ? error
        : new Error('A worker thread threw a value that is not an Error; see cause', { cause: error })
    })
    this.#worker.once('exit', (code) => {
      this.#alive = false
      onGone(this.#error ?? new Error(`worker exited with code: ${code}`))
    })
  }

  /** False once the thread has died or been ended: it may not be gone yet. */
  get alive (): boolean {
    return this.#alive
  }

  /** Says whether the thread holds the process open, as it does from its start. */
  hold (holds: boolean): void {
    if (holds) this.#worker.ref()
    else this.#worker.unref()
  }

  /** Ends the thread, whatever it is doing. It isn't gone before a native function that it runs has returned. */
  end (why: Error = new DOMException('The pool ended the thread', 'AbortError')): void {
    if (!this.#alive) return
    this.#alive = false
    this.#error ??= why
    void this.#pool.destroy()
  }
}

/**
 * Says what ended a thread, in a few words that may be sent to a client. The text of the error itself may be about
 * another client's work, which a timer that a finished job left behind goes on with. The errors are piscina's and
 * Node's: see test/workers/threads/piscina.test.ts.
 */
export function howItEnded (error: Error | undefined): string {
  if (error === undefined) return 'it ended'
  if ((error as { code?: unknown }).code === 'ERR_WORKER_OUT_OF_MEMORY') return 'out of memory'
  const exit = /^worker exited with code: (\d+)$/.exec(error.message)
  if (exit !== null) return `exited with code ${exit[1]}`
  return error.name === 'AbortError' ? 'ended by the pool' : 'an uncaught error'
}
