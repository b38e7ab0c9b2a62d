// The process that `npm start` starts: it says where it listens, and a signal ends it cleanly.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'
import { execArgv } from './helper.ts'

async function start (t: Test): Promise<{ server: ChildProcess, address: string, exited: Promise<unknown[]> }> {
  const server = spawn(process.execPath, [...execArgv, new URL('../../example/server.ts', import.meta.url).pathname], {
    env: { PORT: '0', LOG_LEVEL: 'warn' },
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const exited = once(server, 'exit')
  t.teardown(() => { server.kill('SIGKILL') })
  for await (const line of createInterface(server.stdout!)) {
    const address = /^Open (http:\S+) /.exec(line)?.[1]
    if (address !== undefined) return { server, address, exited }
  }
  throw new Error(`The server ended before it listened: ${String(await exited)}`)
}

t.test('prints its address; a signal lets the search in flight finish, then the process ends by itself', async (t) => {
  const { server, address, exited } = await start(t)
  t.same(await (await fetch(`${address}/ping`)).json(), { pong: true })

  const response = await fetch(`${address}/search?q=santa+cruz+de+siera&anyOrder=true`, { headers: { accept: 'application/x-ndjson' } })
  t.equal(response.status, 200, 'its job runs')
  server.kill('SIGTERM')
  t.match(await response.text(), /"result":\{"matches":\[\{"name":"Santa /)
  t.same(await exited, [0, null])
})
