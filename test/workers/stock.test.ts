// No promise breaks, and no healthy request is refused, in an app that sets no option: burst, overload, a heavy tenant, half a CPU, a deploy.
import t, { type Test } from 'tap'
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ShutdownReport } from '../../plugins/lifecycle/index.ts'
import { execArgv } from '../helper.ts'

interface Answer { status: number, ms: number, retryAfter: string | undefined, body: string }
interface Stock { child: ChildProcess, threads: number, get (path: string, options?: { from?: string, patience?: number }): Promise<Answer> }

/** Status 0: gave up, or the connection ended. */
async function stockApp (t: Test): Promise<Stock> {
  const child = fork(new URL('../fixtures/stock-app.ts', import.meta.url), [], { execArgv, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  t.teardown(() => child.kill('SIGKILL'))
  const [{ port, threads }] = await once(child, 'message') as [{ port: number, threads: number }]
  const get: Stock['get'] = async (path, { from = '127.0.0.1', patience = 20_000 } = {}) => {
    const began = performance.now()
    return await new Promise((resolve) => {
      const end = (status: number, retryAfter?: string, body = ''): void => { resolve({ status, ms: performance.now() - began, retryAfter, body }) }
      const client = request({ port, host: '127.0.0.1', localAddress: from, path, agent: false }, (response) => {
        let body = ''
        response.on('data', (chunk: Buffer) => { body += chunk.toString() })
        response.on('end', () => end(response.statusCode ?? 0, response.headers['retry-after'], body))
        response.on('error', () => end(0))
      })
      client.on('error', () => end(0))
      client.setTimeout(patience, () => client.destroy())
      client.end()
    })
  }
  return { child, threads, get }
}

/** Sends `send()` every `everyMs` for `forMs`, whatever becomes of it. */
async function openLoop (everyMs: number, forMs: number, send: () => Promise<Answer>): Promise<Answer[]> {
  const answers: Array<Promise<Answer>> = []
  const began = performance.now()
  for (let n = 0; performance.now() - began < forMs; n++) {
    await sleep(Math.max(0, began + n * everyMs - performance.now()))
    answers.push(send())
  }
  return await Promise.all(answers)
}

/** Clients that send again when they have an answer, or two seconds after a refusal: their load is there however slow this machine is. */
function crowd (clients: number, send: () => Promise<Answer>): { answers: Answer[], leave: () => Promise<unknown> } {
  const answers: Answer[] = []
  const over = new AbortController()
  const all = Promise.all(Array.from({ length: clients }, async () => {
    while (!over.signal.aborted) {
      const answer = await send()
      if (!over.signal.aborted) answers.push(answer)
      if (answer.status !== 200) await sleep(2_000)
    }
  }))
  return { answers, leave: async () => { over.abort(); await all } }
}

const isRefused = ({ status }: Answer): boolean => status === 503
const refusals = (answers: Answer[]): number => answers.filter(isRefused).length

const statuses = (answers: Answer[]): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1
  return counts
}

t.test('a burst from idle is served, every request of it', async (t) => {
  const { get } = await stockApp(t)
  await get('/work?ms=5')
  t.same(statuses(await Promise.all(Array.from({ length: 40 }, () => get('/work?ms=5')))), { 200: 40 })
})

// 150 clients for each thread would wait for 15 s if all were let in: twice their patience.
t.test('overload: served requests are fast, the others get 503 with Retry-After at once, and /ping answers', async (t) => {
  const { get, threads } = await stockApp(t)
  for (let n = 0; n < 20; n++) await get('/work?ms=100')
  const { answers, leave } = crowd(150 * threads, () => get('/work?ms=100', { patience: 7_500 }))
  // Nothing tells a burst from the first seconds of an overload, so these seconds come first.
  while (refusals(answers) < 500) await sleep(50)
  answers.length = 0
  const pings: Answer[] = []
  while (answers.length < 400) {
    pings.push(await get('/ping'))
    await sleep(50)
  }
  await leave()
  const served = answers.filter(({ status }) => status === 200).length
  const refused = answers.filter(isRefused)
  t.same(statuses(pings), { 200: pings.length })
  t.ok(served > answers.length / 50, `${served} of ${answers.length} served`)
  t.ok(refused.length > 0)
  t.ok(refused.every(({ retryAfter, body }) => Number(retryAfter) >= 1 && /FC_ERR_WORKERS_OVERLOADED/.test(body)))
  t.ok(served + refused.length > answers.length * 0.8, `${answers.length - served - refused.length} of ${answers.length} wait in vain`)
})

// 100 clients for each thread would wait for 5 s, and leave after 2 s.
t.test('a heavy tenant is refused its excess; another\'s few requests are all served', async (t) => {
  const { get, threads } = await stockApp(t)
  for (let n = 0; n < 20; n++) await get('/work?ms=50')
  const heavy = crowd(100 * threads, () => get('/work?ms=50', { patience: 2_000 }))
  const light: Answer[] = []
  for (let since = 0; since < 20; since += refusals(heavy.answers) > 0 ? 1 : 0) {
    light.push(await get('/work?ms=50', { from: '127.0.0.2' }))
    await sleep(50)
  }
  await heavy.leave()
  t.same(statuses(light), { 200: light.length })
})

t.test('half a CPU, as a quota gives it: stopped for half of the time, at light load nobody is refused', async (t) => {
  const { child, get } = await stockApp(t)
  for (let n = 0; n < 10; n++) await get('/work?ms=5')
  const end = performance.now() + 3_000
  const throttle = (async () => {
    while (performance.now() < end) {
      child.kill('SIGSTOP')
      await sleep(50)
      child.kill('SIGCONT')
      await sleep(50)
    }
  })()
  const answers = await openLoop(80, 3_000, () => get('/work?ms=5'))
  await throttle
  t.same(statuses(answers), { 200: answers.length })
})

t.test('a deploy under load: after SIGTERM, no request that had begun is lost', async (t) => {
  const { child, get } = await stockApp(t)
  const running = Array.from({ length: 8 }, () => get('/work?ms=100'))
  while ((await get('/begun')).body !== '8') await sleep(10)
  const reported = once(child, 'message') as Promise<[ShutdownReport]>
  child.kill('SIGTERM')
  t.same(statuses(await Promise.all(running)), { 200: 8 })
  t.match((await reported)[0], { reason: 'SIGTERM', unfinished: [] })
  const [code, signal] = child.exitCode === null ? await once(child, 'exit') as [number, string | null] : [child.exitCode, null]
  t.same([code, signal], [0, null])
})
