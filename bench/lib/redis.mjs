/** A redis-server of a benchmark's own, which keeps nothing on disk. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'

/** Starts the server. Resolves when it answers, to the path of its Unix socket and what ends it. */
export async function startRedis () {
  const directory = mkdtempSync(join(tmpdir(), 'fc-bench-'))
  const path = join(directory, 'socket')
  const server = spawn('redis-server', ['--port', '0', '--unixsocket', path, '--save', '', '--appendonly', 'no', '--dir', directory], { stdio: 'ignore' })
  const client = new Redis(path, { retryStrategy: () => 5, maxRetriesPerRequest: null })
  client.on('error', () => {})
  await client.ping()
  client.disconnect()
  return {
    path,
    async stop () {
      server.kill('SIGKILL')
      await once(server, 'exit')
      rmSync(directory, { recursive: true, force: true })
    }
  }
}
