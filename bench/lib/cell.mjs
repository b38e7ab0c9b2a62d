/** Starts a server and its clients, each in a process of its own. */
import { execFileSync, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const threads = availableParallelism()

/** @param {string} path */
const file = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url))

/** @type {string | undefined} */
let goBinary

/** @returns the Go server, built, or undefined if there is no Go */
export function buildGo () {
  if (goBinary !== undefined) return goBinary
  try {
    execFileSync('go', ['version'])
  } catch {
    return undefined
  }
  const folder = mkdtempSync(join(tmpdir(), 'fastify-concurrency-go-'))
  process.once('exit', () => rmSync(folder, { recursive: true }))
  goBinary = join(folder, 'server')
  execFileSync('go', ['build', '-o', goBinary, file('go/main.go')], { stdio: 'inherit' })
  return goBinary
}

/**
 * Starts a server. The server writes its port to file descriptor 3 and ends when its standard input ends, so that none outlives a benchmark.
 *
 * @param {string[]} command
 * @param {Record<string, string>} env
 */
async function start ([command = '', ...args], env) {
  const child = spawn(command, args, { stdio: ['pipe', 'ignore', 'inherit', 'pipe'], env: { ...process.env, ...env } })
  const ended = once(child, 'exit')
  const [chunk] = await Promise.race([once(/** @type {import('node:stream').Readable} */ (child.stdio[3]), 'data'), ended])
  if (!Buffer.isBuffer(chunk)) throw new Error(`${command} ${args.join(' ')} ended before it listened`)
  return {
    port: Number(String(chunk)),
    async stop () {
      child.kill('SIGKILL')
      const [code, signal] = await ended
      if (signal !== 'SIGKILL') throw new Error(`${command} ${args.join(' ')} had ended by itself: ${signal ?? code}`)
    }
  }
}

/**
 * @param {string} name of a file in servers/, or `go`, with its arguments
 * @param {number} iterationsPerMs what a millisecond of work is
 * @param {string} [node] that runs it
 */
export async function startServer (name, iterationsPerMs, node = process.execPath) {
  const [server = '', ...args] = name.split(' ')
  const command = server === 'go' ? [buildGo() ?? ''] : [node, file(`servers/${server}.mjs`), ...args]
  return start(command, { ITERATIONS_PER_MS: String(iterationsPerMs) })
}

/**
 * The CPU time that a server's process has used so far, in µs.
 *
 * @param {number} port
 */
export async function usedCpu (port) {
  return /** @type {{ µs: number }} */ (await (await fetch(`http://127.0.0.1:${port}/cpu`)).json()).µs
}

/** The process that runs the clients. */
export class Clients {
  #child = fork(file('lib/client.mjs'), { serialization: 'advanced' }) // JSON has no NaN
  #ended = once(this.#child, 'exit').then(() => [{ error: 'their process ended' }])

  /**
   * @param {Omit<import('./client.mjs').Orders, 'seed'> & { seed?: number }} orders
   * @returns {Promise<{
   *   streams: Record<string, import('./client.mjs').Outcome>,
   *   ping: import('./client.mjs').Outcome,
   *   threads: ReturnType<typeof import('./threads.mjs').compareTimes> | undefined,
   *   opened: number
   * }>} `threads` is undefined if the server has none or the system doesn't tell
   */
  run (orders) {
    return this.#ask('run', { seed: 1, ...orders })
  }

  /**
   * @param {{ port: number, seconds: number, deck: string[], inFlight: number, skip: number, seed?: number }} orders
   * @returns {Promise<number>} served a second
   */
  saturate (orders) {
    return this.#ask('saturate', { seed: 1, ...orders })
  }

  /**
   * @param {{ port: number, path: string, count: number, inFlight: number, expect?: number }} orders
   * @returns {Promise<void>}
   */
  many (orders) {
    return this.#ask('many', orders)
  }

  /**
   * @param {import('./crowd.mjs').Orders} orders
   * @returns {Promise<Record<string, import('./crowd.mjs').Answer[]>>} the answers of each group
   */
  crowd (orders) {
    return this.#ask('crowd', orders)
  }

  /**
   * Measures the CPU time of a request in the server's process, in µs.
   *
   * @param {{ port: number, path: string, count: number, inFlight: number, expect?: number }} orders
   */
  async cpu (orders) {
    const before = await usedCpu(orders.port)
    await this.many(orders)
    return (await usedCpu(orders.port) - before) / orders.count
  }

  stop () {
    this.#child.disconnect()
  }

  /**
   * @param {string} task
   * @param {object} orders
   * @returns {Promise<any>}
   */
  async #ask (task, orders) {
    this.#child.send({ task, orders })
    const [{ result, error }] = await Promise.race([once(this.#child, 'message'), this.#ended])
    if (error !== undefined) throw new Error(`The clients: ${error}`)
    return result
  }
}

/**
 * Measures how many requests all threads together can serve in a second, on bare piscina, whichever server is compared with it.
 *
 * @param {Clients} clients
 * @param {string[]} deck
 * @param {{ iterationsPerMs: number, seconds: number, server?: string, inFlight?: number }} options
 */
export async function capacity (clients, deck, { iterationsPerMs, seconds, server = 'piscina', inFlight = 2 * threads }) {
  const { port, stop } = await startServer(server, iterationsPerMs)
  try {
    await warmUp(clients, port, deck)
    return await clients.saturate({ port, deck, seconds, inFlight, skip: threads })
  } finally {
    await stop()
  }
}

/**
 * Warms a server up: its code is compiled, connections are open and run times are estimated.
 *
 * @param {Clients} clients
 * @param {number} port
 * @param {string[]} deck
 */
export async function warmUp (clients, port, deck) {
  await clients.saturate({ port, deck, seconds: 0.5, inFlight: threads, skip: 1 })
}
