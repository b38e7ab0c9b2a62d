/**
 * The only file that knows piscina. It owns the threads: their start, resource limits, crash detection and respawn. Its queue and its
 * cancellation are not used: each thread runs one long-lived task, our host, whose AbortController is the thread's kill switch.
 * What is leaned on is pinned by test/workers/piscina.test.ts.
 */
import { existsSync } from 'node:fs'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { MessagePort, ResourceLimits } from 'node:worker_threads'
import { Piscina } from 'piscina'
import type { HostData } from '../../workers/protocol.ts'
import { JobsInvalidError, OptionInvalidError } from '../errors.ts'

/** The same expression finds host.ts beside the sources and host.js in the build. */
const hostUrl = new URL('../../workers/host' + extname(import.meta.url), import.meta.url)

export interface ThreadSettings {
  threads: number
  resourceLimits?: ResourceLimits
  execArgv?: readonly string[]
  env?: Readonly<Record<string, string | undefined>>
}

/** A host on a thread. */
export interface Host {
  /** Undefined when the host returned, else what ended its thread. Never rejects. */
  readonly ended: Promise<Error | undefined>
  /** Ends the thread, whatever it is doing. piscina starts another in its place. */
  kill (): void
}

export class Threads {
  readonly #pool: Piscina

  /** @param onCrash a thread died that ran no host; piscina would otherwise end the process */
  constructor ({ threads, resourceLimits, execArgv, env }: ThreadSettings, onCrash: (error: Error) => void) {
    if (!existsSync(hostUrl)) {
      throw new JobsInvalidError(`There is no ${fileURLToPath(hostUrl)}: bundlers must keep fastify-concurrency external (esbuild: packages: 'external')`)
    }
    const options = {
      filename: hostUrl.href,
      // Equal, or an aborted task leaves the tasks queued behind it without a thread.
      minThreads: threads,
      maxThreads: threads,
      // 'sync' freezes the event loop of an idle worker: timers and ports that a job left behind wouldn't fire.
      atomics: 'disabled' as const,
      recordTiming: false,
      // A host that waits for a respawning thread is queued; at most one a thread.
      maxQueue: Infinity,
      ...(resourceLimits !== undefined && { resourceLimits }),
      ...(execArgv !== undefined && { execArgv: [...execArgv] }),
      ...(env !== undefined && { env: env as Record<string, string> })
    }
    try {
      this.#pool = new Piscina(options)
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'ERR_WORKER_INVALID_EXEC_ARGV') throw error
      throw new OptionInvalidError('workers.execArgv', 'Node options that a worker thread takes', (error as Error).message)
    }
    this.#pool.on('error', onCrash)
  }

  start (data: HostData): Host {
    const controller = new AbortController()
    const running: Promise<void> = this.#pool.run(data, { transferList: [data.port as MessagePort], signal: controller.signal })
    return {
      ended: running.then(() => undefined, (error: unknown) => error instanceof Error ? error : new Error('The thread ended', { cause: error })),
      kill: () => controller.abort()
    }
  }

  /** Ends all threads, running or not. */
  async destroy (): Promise<void> {
    await this.#pool.destroy()
  }
}
