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

// Nothing tells a burst from the first seconds of an overload, so these seconds come first.
t.test('overload: served requests are fast, the others get 503 with Retry-After at once, and /ping answers', async (t) => {
  const { get, threads } = await stockApp(t)
  for (let n = 0; n < 20; n++) await get('/work?ms=20')
  const work = (): Promise<Answer> => get('/work?ms=20', { patience: 1_000 })
  const [answers, pings] = await Promise.all([
    openLoop(20 / threads / 4, 7_000, work).then(async () => await openLoop(20 / threads / 4, 3_000, work)),
    openLoop(50, 10_000, () => get('/ping'))
  ])
  const served = answers.filter(({ status }) => status === 200)
  const refused = answers.filter(({ status }) => status === 503)
  t.same(statuses(pings), { 200: pings.length })
  t.ok(served.length > 3_000 / 20 / 3, `${served.length} served`)
  t.ok(refused.length > 0)
  t.ok(refused.every(({ retryAfter, body }) => Number(retryAfter) >= 1 && /FC_ERR_WORKERS_OVERLOADED/.test(body)))
  t.ok(served.length + refused.length > answers.length * 0.8, `${answers.length - served.length - refused.length} of ${answers.length} wait in vain`)
})

t.test('a heavy tenant is refused its excess; another\'s few requests are all served', async (t) => {
  const { get, threads } = await stockApp(t)
  for (let n = 0; n < 20; n++) await get('/work?ms=10')
  const [heavy, light] = await Promise.all([
    openLoop(10 / threads / 4, 8_000, () => get('/work?ms=10', { patience: 2_000 })),
    openLoop(100, 8_000, () => get('/work?ms=10', { from: '127.0.0.2' }))
  ])
  t.ok((statuses(heavy)[503] ?? 0) > 0)
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
  await sleep(150) // some run, some wait, some may have ended
  const reported = once(child, 'message') as Promise<[ShutdownReport]>
  child.kill('SIGTERM')
  t.same(statuses(await Promise.all(running)), { 200: 8 })
  t.match((await reported)[0], { reason: 'SIGTERM', unfinished: [] })
  const [code, signal] = child.exitCode === null ? await once(child, 'exit') as [number, string | null] : [child.exitCode, null]
  t.same([code, signal], [0, null])
})
