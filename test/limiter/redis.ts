// A real redis-server for a test, of the limiter or of tasks: started on a Unix socket of its own, killed in teardown even when the test fails.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis, type RedisOptions } from 'ioredis'
import type { Test } from 'tap'

export type RedisBinary = 'redis-server' | 'valkey-server'

export interface RedisServer {
  /** For `new Redis(path)`. */
  readonly path: string
  /** A client that is closed in teardown; with the defaults of ioredis unless told otherwise. */
  client (options?: Omit<RedisOptions, 'replyMapping'>): Redis
  /** Its TCP port; 0 unless asked for. */
  readonly port: number
  /** Ends it like a crash. */
  kill (): Promise<void>
  /** Starts it again at the same address: empty, unless it persists. */
  start (): Promise<void>
  /** SIGSTOP freezes it, SIGCONT lets it go on. */
  signal (signal: 'SIGSTOP' | 'SIGCONT'): void
}

/** A reason to skip if there is no such server; a failure instead where FC_REQUIRE_ALL=1 says that nothing may be skipped. */
export async function noRedis (binary: RedisBinary = 'redis-server'): Promise<string | false> {
  const child = spawn(binary, ['--version'], { stdio: 'ignore' })
  const found = await Promise.race([once(child, 'exit').then(([code]) => code === 0), once(child, 'error').then(() => false)]).catch(() => false)
  if (found) return false
  if (process.env['FC_REQUIRE_ALL'] === '1') throw new Error(`${binary} was not found, and FC_REQUIRE_ALL=1 forbids to skip`)
  return `${binary} was not found: install it to run this test`
}

export interface RedisServerOptions {
  /** Whether what it has answered for survives a crash. */
  persists?: boolean
  /** Whether it listens on a TCP port, too. */
  tcp?: boolean
  binary?: RedisBinary
  /** Further arguments. */
  args?: readonly string[]
}

export async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

export async function startRedis (t: Test, { persists = false, tcp = false, binary = 'redis-server', args = [] }: RedisServerOptions = {}): Promise<RedisServer> {
  const port = tcp ? await freePort() : 0
  const persistence = persists ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no']
  const directory = mkdtempSync(join(tmpdir(), 'fc-redis-'))
  const path = join(directory, 'socket')
  const clients: Redis[] = []
  let child: ChildProcess | undefined

  async function start (): Promise<void> {
    child = spawn(binary, ['--port', String(port), '--unixsocket', path, '--save', '', '--dir', directory, ...persistence, ...args], { stdio: 'ignore' })
    const probe = new Redis({ path, lazyConnect: true, retryStrategy: () => 5, maxRetriesPerRequest: null })
    probe.on('error', () => {})
    await probe.ping()
    probe.disconnect()
  }

  async function kill (): Promise<void> {
    if (child === undefined) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
    child = undefined
  }

  t.teardown(async () => {
    for (const client of clients) client.disconnect()
    await kill()
    rmSync(directory, { recursive: true, force: true })
  })
  await start()
  return {
    path,
    client (options = {}) {
      const client = new Redis(path, options)
      client.on('error', () => {})
      clients.push(client)
      return client
    },
    port,
    kill,
    start,
    signal: (signal) => child?.kill(signal)
  }
}
