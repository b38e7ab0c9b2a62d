import t, { type Test } from 'tap'
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { ShutdownReport } from '../../plugins/lifecycle/index.ts'

async function start (t: Test): Promise<{ child: ChildProcess, port: number }> {
  const child = fork(fileURLToPath(new URL('../fixtures/lifecycle-server.ts', import.meta.url)), {
    silent: true,
    execArgv: ['--conditions=fastify-concurrency-source', '--import', new URL('../../loader/typescript.js', import.meta.url).href]
  })
  t.teardown(() => child.kill('SIGKILL'))
  const [{ port }] = await once(child, 'message') as [{ port: number }]
  return { child, port }
}

type Outcome = 'whole' | 'truncated' | 'refused' | 'reset' | 'unconnected'

function ask (port: number, path: string, agent: Agent): Promise<Outcome> {
  return new Promise((resolve) => {
    let responded = false
    const request = httpRequest({ host: '127.0.0.1', port, path, agent }, (response: IncomingMessage) => {
      responded = true
      response.resume()
      response.on('error', () => resolve('truncated'))
      response.on('end', () => {
        if (!response.complete) resolve('truncated')
        else resolve(response.statusCode === 200 ? 'whole' : 'refused')
      })
    })
    request.on('error', (error: NodeJS.ErrnoException) => {
      if (responded) resolve('truncated')
      else resolve(error.code === 'ECONNREFUSED' ? 'unconnected' : 'reset')
    })
    request.end()
  })
}

t.test('SIGTERM under load: a client that stops on readiness is never refused, cut off or reset', async (t) => {
  const { child, port } = await start(t)
  const agent = new Agent({ keepAlive: true, maxSockets: 20 })
  t.teardown(() => agent.destroy())
  const outcomes: Record<string, number> = {}
  const unready = new AbortController()
  const clients = Array.from({ length: 20 }, async () => {
    while (!unready.signal.aborted) {
      const outcome = await ask(port, '/', agent)
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
    }
  })
  const watch = (async () => {
    let probes = 0
    while (await ask(port, '/ready', new Agent()) === 'whole') {
      if (++probes === 20) child.kill('SIGTERM')
    }
    unready.abort()
  })()
  const [message, [code]] = await Promise.all([once(child, 'message'), once(child, 'exit'), watch, ...clients])
  const { report } = message[0] as { report: ShutdownReport }
  t.equal(code, 0)
  t.match(report, { reason: 'SIGTERM', unfinished: [] })
  t.same(Object.keys(outcomes), ['whole'], JSON.stringify(outcomes))
  t.ok(report.durationMs < 4_000, `took ${report.durationMs} ms`)
})

t.test('a second signal ends at once, and the log names what was unfinished', async (t) => {
  const { child, port } = await start(t)
  const log = text(child.stdout!)
  const stuck = ask(port, '/stuck', new Agent())
  while (await ask(port, '/ready', new Agent()) !== 'whole');
  child.kill('SIGTERM')
  while (await ask(port, '/ready', new Agent()) !== 'refused');
  const before = performance.now()
  child.kill('SIGTERM')
  const [code] = await once(child, 'exit')
  t.equal(code, 1)
  t.equal(await stuck, 'reset')
  t.ok(performance.now() - before < 2_000, 'long before the timeout')
  const { level, msg, shutdown } = JSON.parse(await log) as { level: number, msg: string, shutdown: ShutdownReport }
  t.equal(level, 50)
  t.match(msg, /^shutdown: the process was ended after \d+ ms, with 1 unfinished\. A shutdown may take 5100 ms: /)
  t.match(shutdown, { reason: 'SIGTERM', unfinished: [{ kind: 'request', name: 'GET /stuck' }] })
})
