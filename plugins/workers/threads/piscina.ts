/**
 * The adapter for piscina, and the only file that knows it. Each thread has a piscina pool of its own, which holds at most that one thread and
 * ends with it. Piscina starts the thread, applies its limits and carries our host. Its queue, its cancellation and its respawn are not used. The
 * respawn would start a thread before the last one is gone, and starts none once a thread has failed before it was ready.
 * What this file leans on is pinned by test/workers/threads/piscina.test.ts.
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
  readonly resourceLimits?: ResourceLimits
  readonly execArgv?: readonly string[]
  readonly env?: Readonly<Record<string, string | undefined>>
}

/** @throws JobsInvalidError if a bundler has left the host behind */
export function checkHost (): void {
  if (existsSync(hostUrl)) return
  throw new JobsInvalidError(`There is no ${fileURLToPath(hostUrl)}: bundlers must keep fastify-concurrency external (esbuild: packages: 'external')`)
}

/** A thread of the operating system, from its start until it is gone. */
export class OsThread {
  readonly #pool: Piscina
  #worker: Worker | undefined
  #error: Error | undefined
  #alive = true
  readonly #onGone: (error: Error) => void

  /** @param onGone called once, when the thread is gone, with what ended it */
  constructor ({ resourceLimits, execArgv, env }: ThreadSettings, onGone: (error: Error) => void) {
    this.#onGone = onGone
    this.#pool = new Piscina({
      filename: hostUrl.href,
      minThreads: 0,
      maxThreads: 1,
      maxQueue: 1,
      // A parked thread keeps what it has loaded.
      idleTimeout: Infinity,
      // 'sync' freezes the event loop of an idle worker: timers and ports that a job left behind wouldn't fire.
      atomics: 'disabled',
      recordTiming: false,
      ...(resourceLimits !== undefined && { resourceLimits }),
      ...(execArgv !== undefined && { execArgv: [...execArgv] }),
      ...(env !== undefined && { env: env as Record<string, string> })
    })
    // The 'error' event of the worker reports the same failure.
    this.#pool.on('error', () => {})
  }

  /** False once the thread has died or been ended: it may not be gone yet. */
  get alive (): boolean {
    return this.#alive
  }

  /**
   * Runs a host, the first time in a new thread. `onReturned` is called when the host has returned, not if the thread ends.
   * @throws the error of worker_threads if there can't be a thread, such as the operating system's EAGAIN
   */
  run (data: HostData, onReturned: () => void): void {
    const running: Promise<void> = this.#pool.run(data, { transferList: [data.port as MessagePort] })
    running.then(onReturned, (error: unknown) => {
      // A host that fails by itself leaves its thread alive.
      if (this.#alive) this.end(error as Error)
    })
    if (this.#worker !== undefined) return
    this.#worker = this.#pool.threads[0] as Worker
    this.#worker.once('error', (error: unknown) => {
      this.#alive = false
      this.#error ??= error instanceof Error ? error : new Error('A worker thread threw a value that is not an Error; see cause', { cause: error })
    })
    this.#worker.once('exit', (code) => {
      this.#alive = false
      this.#onGone(this.#error ?? new Error(`worker exited with code: ${code}`))
    })
  }

  /** Ends the thread, whatever it is doing. It isn't gone before a native function that it runs has returned. */
  end (why: Error = new DOMException('The pool ended the thread', 'AbortError')): void {
    if (!this.#alive) return
    this.#alive = false
    this.#error ??= why
    void this.#pool.destroy()
  }
}
