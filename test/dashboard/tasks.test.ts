// Stored tasks on the page: what has failed, with a way back, behind the guards of the page. On a real Redis.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import Fastify, { type FastifyInstance } from 'fastify'
import { setTimeout } from 'node:timers/promises'
import { Queue } from 'bullmq'
import t, { type Test } from 'tap'
import concurrency from '../../plugins/index.ts'
import type { DashboardOptions } from '../../plugins/dashboard/index.ts'
import { Feed } from '../../plugins/dashboard/feed.ts'
import { Streams } from '../../plugins/dashboard/streams.ts'
import metrics from '../../plugins/metrics/index.ts'
import tasksPlugin, { defineTasks, type EngineFactory } from '../../plugins/tasks/index.ts'
import { memoryEngine } from '../../plugins/tasks/named/engine.ts'
import { complaintsOf, launch, skip as noBrowser } from '../example/browser.ts'
import { deferred, until } from '../helper.ts'
import { noRedis, startRedis, type RedisServer } from '../limiter/redis.ts'
import type { Status } from '../../plugins/dashboard/status/watch.ts'
import type { Stored } from '../../plugins/dashboard/stored-tasks.ts'
import { listenTo, send, type Answer } from './helper.ts'

const skip = await noRedis()

interface Calls {
  enqueue (name: string, payload: unknown, options: object): Promise<unknown>
  failed (name: string): Promise<unknown[]>
}

interface Kit {
  app: FastifyInstance
  redis: RedisServer
  port: number
  ran: unknown[]
  fix (): void
  fail (id: string): Promise<void>
  failMany (count: number): Promise<void>
  get (query: Record<string, string>): Promise<Answer>
  inspect (name: string): Promise<unknown>
  post (query: Record<string, string>, headers?: Record<string, string>): Promise<Answer>
}

async function build (t: Test, dashboard: DashboardOptions = {}): Promise<Kit> {
  const redis = await startRedis(t, { tcp: true })
  const app = Fastify() as unknown as FastifyInstance
  t.teardown(() => app.close())
  const ran: unknown[] = []
  let isBroken = true
  const tasks = defineTasks({
    mail: {
      handler (payload: unknown) {
        if (isBroken) throw Object.assign(new Error('no route to <b>host</b>'), { code: 'EHOSTUNREACH' })
        ran.push(payload)
      }
    },
    hold: { handler: async (_payload: unknown, { signal }) => await new Promise((resolve) => { signal.onabort = resolve }) }
  })
  await app.register(concurrency, { workers: false, redis: `redis://127.0.0.1:${redis.port}`, tasks: { tasks }, dashboard })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as { port: number }
  const call = app.tasks as unknown as Calls
  const page = await listenTo(t, port)
  await page.next('stored', ({ queues }: Stored) => queues.length > 0)
  const path = (route: string, query: Record<string, string>): string => `/dashboard/tasks/${route}?${new URLSearchParams({ name: 'mail', ...query }).toString()}`
  return {
    app,
    redis,
    port,
    ran,
    fix () { isBroken = false },
    async fail (id) {
      const before = (await call.failed('mail')).length
      await call.enqueue('mail', { to: id, secret: 'hidden' }, { id })
      while ((await call.failed('mail')).length === before) await new Promise((resolve) => setImmediate(resolve))
    },
    async failMany (count) {
      const handles = await Promise.all(Array.from({ length: count }, async (_, n) => await call.enqueue('mail', {}, { id: `n-${n}` })))
      await Promise.allSettled((handles as Array<{ done: Promise<unknown> }>).map(({ done }) => done))
    },
    inspect: async (name) => JSON.parse((await send(port, path('inspect', { name }))).body) as unknown,
    get: async (query) => send(port, path('failed', query)),
    post: async (query, headers = { origin: `http://127.0.0.1:${port}` }) => send(port, path('act', query), { method: 'POST', headers })
  }
}

interface Failed { next?: number, tasks: Array<{ id: string, storedId: string, message: string, payload?: string, stack?: string }>, hasPayloads: boolean }
const failedOf = ({ body }: Answer): Failed => JSON.parse(body) as Failed

t.test('failed tasks are listed with their errors, found by id, retried and discarded, one or all', { skip }, async (t) => {
  const { fail, fix, get, post, ran } = await build(t)
  for (const id of ['ann', 'bob', 'cy']) await fail(id)
  const { tasks, hasPayloads } = failedOf(await get({}))
  t.equal(hasPayloads, false)
  t.strictSame(tasks.map(({ id }) => id), ['mail:cy', 'mail:bob', 'mail:ann'])
  t.match(tasks[0], { message: 'EHOSTUNREACH: no route to <b>host</b>', stack: /no route/, attempts: 1, failedAt: Number })
  const found = failedOf(await get({ id: 'bo' })).tasks
  t.strictSame(found.map(({ id }) => id), ['mail:bob'])
  t.match(await post({ action: 'discard', id: found[0]?.storedId ?? '', shown: found[0]?.id ?? '' }), { status: 200, body: /`mail:bob` was discarded"/ })
  fix()
  t.match(await post({ action: 'retry', id: tasks[2]?.storedId ?? '' }), { status: 200 })
  await until(() => ran.length === 1, 'ann has her mail')
  t.match(await post({ action: 'retryAll' }), { status: 200, body: /1 failed task was put back/ })
  await until(() => ran.length === 2, 'cy has his')
  t.strictSame(failedOf(await get({})).tasks, [])
  t.match(await post({ action: 'retry', id: 'mail:nobody' }), { status: 404, body: /FC_ERR_TASK_NOT_FOUND/ })
})

t.test('a payload is shown only with the option, and only if it is asked for, as the option says', { skip }, async (t) => {
  const one = await build(t)
  await one.fail('ann')
  t.notMatch((await one.get({ payloads: 'true' })).body, 'hidden')
  const other = await build(t, { payloads: (_name, payload) => ({ ...payload as object, secret: '…' }) })
  await other.fail('ann')
  t.equal(failedOf(await other.get({})).tasks[0]?.payload, undefined)
  t.strictSame(JSON.parse(failedOf(await other.get({ payloads: 'true' })).tasks[0]?.payload ?? ''), { to: 'ann', secret: '…' })
})

t.test('a pause is seen by all pages, and resumed', { skip }, async (t) => {
  const { port, post } = await build(t)
  const page = await listenTo(t, port)
  t.equal((await post({ action: 'pause' })).status, 200)
  await page.next('stored', ({ queues: [queue] }: Stored) => queue?.paused === true)
  await page.next('incidents', (incidents: Array<{ reason: string }>) => incidents.some(({ reason }) => reason === '`mail` is paused on the dashboard'))
  page.messages.length = 0
  t.equal((await post({ action: 'resume' })).status, 200)
  await page.next('stored', ({ queues: [queue] }: Stored) => queue?.paused === false)
})

t.test('what changes or reads tasks has the guards of the page', { skip }, async (t) => {
  const { fail, get, post, port } = await build(t)
  await fail('ann')
  for (const headers of [{}, { origin: 'http://evil.example' }, { 'sec-fetch-site': 'cross-site' }, { origin: 'null' }] as Array<Record<string, string>>) {
    t.equal((await post({ action: 'discardAll' }, headers)).status, 403, JSON.stringify(headers))
  }
  for (const route of ['failed', 'inspect']) {
    t.equal((await send(port, `/dashboard/tasks/${route}?name=mail`, { headers: { 'sec-fetch-site': 'cross-site' } })).status, 403, route)
    t.equal((await send(port, `/dashboard/tasks/${route}?name=mail`, { headers: { 'x-forwarded-for': '1.2.3.4' } })).status, 403, route)
    for (const name of ['nobody', '', '__proto__']) t.equal((await send(port, `/dashboard/tasks/${route}?name=${name}`)).status, 404, `${route} ${name}`)
  }
  for (const query of [{ action: 'obliterate' }, { action: 'close' }, { action: '__proto__' }, { action: 'retry' }, { action: 'cancel' }, { action: 'discardAll', name: 'nobody' }, { action: 'discardAll', name: '' }]) {
    t.equal((await post(query as unknown as Record<string, string>)).status, 404, JSON.stringify(query))
  }
  t.equal((await send(port, '/dashboard/tasks/act?name=mail&action=discardAll')).status, 404, 'a GET changes nothing')
  t.equal(failedOf(await get({})).tasks.length, 1)
})

t.test('failed tasks are read fifty at a time, and a search goes on beyond the thousand at which it looks', { skip }, async (t) => {
  const { get, fail, failMany } = await build(t, { payloads: (_name, payload) => payload })
  await fail('oldest')
  await failMany(1_060)
  const part = async (query: Record<string, string>): Promise<Failed> => failedOf(await get(query))
  const first = await part({})
  t.strictSame([first.tasks.length, first.next], [50, 50])
  const second = await part({ offset: '50' })
  t.equal(second.tasks.length, 50)
  t.notOk(second.tasks.some(({ storedId }) => first.tasks.some((task) => task.storedId === storedId)), 'none is there twice')
  const last = await part({ offset: '1050' })
  t.strictSame([last.tasks.length, last.next, last.tasks.at(-1)?.id], [11, undefined, 'mail:oldest'])
  t.strictSame(await part({ id: 'oldest' }), { tasks: [], next: 1_000, hasPayloads: true })
  const found = await part({ id: 'oldest', offset: '1000', payloads: 'true' })
  t.strictSame([found.tasks.length, found.next], [1, undefined])
  t.match(found.tasks[0], { id: 'mail:oldest', payload: /hidden/ })
  t.strictSame((await part({ id: 'n-' })).next, 50, 'a search that finds more than fifty goes on after the fiftieth')
  for (const offset of ['-1', 'x', '1e99', 'NaN']) t.equal((await get({ offset })).status, 200, offset)
})

t.test('what runs and what runs later is read with where and when, and cancelled', { skip }, async (t) => {
  const { app, inspect, post } = await build(t)
  const calls = app.tasks as unknown as Calls
  await calls.enqueue('mail', { secret: 'hidden' }, { id: 'later', delay: 60_000 })
  await calls.enqueue('hold', undefined, { id: 'long' })
  await until(() => app.tasks.stats().running === 1, 'it runs')
  await app.tasks.pause('mail')
  await calls.enqueue('mail', { secret: 'hidden' }, { id: 'next' })
  t.match(await inspect('hold'), { running: [{ id: 'hold:long', process: new RegExp(`:${process.pid}$`), attempt: 1 }], delayed: [], schedules: [] })
  const body = await inspect('mail')
  t.match(body, { running: [], waiting: [{ id: 'mail:next', enqueuedAt: Number, waitsForKey: false }], delayed: [{ id: 'mail:later', attempts: 0, runsAt: Number }], schedules: [] })
  t.notMatch(JSON.stringify(body), 'hidden')
  t.match(await post({ action: 'cancel', id: 'hold:long' }), { status: 404 }, 'an id of another name')
  t.match(await post({ action: 'cancel', id: 'mail:later' }), { status: 200, body: /`mail:later` was cancelled/ })
  t.strictSame((await inspect('mail') as { delayed: unknown[] }).delayed, [])
  t.match(await post({ action: 'cancel', id: 'mail:later' }), { status: 404 })
  t.match(await post({ action: 'cancel', id: 'hold:long', name: 'hold' }), { status: 200 })
})

t.test('pages see the processes that consume a name; while Redis is away they are told so', { skip }, async (t) => {
  const { port, redis } = await build(t)
  const page = await listenTo(t, port)
  const { processes } = await page.next('stored', ({ processes = [] }: Stored) => processes.length > 0)
  t.match(processes?.[0], { name: new RegExp(`:${process.pid}$`), consumes: ['mail', 'hold'], concurrency: Number })
  await redis.kill()
  t.strictSame(await page.next('stored', ({ away }: Stored) => away), { queues: [], processes: [], away: true })
})

t.test('the first line says that no process consumes a name whose tasks have waited for five minutes, until one does; while no page is open Redis is asked nothing', { skip }, async (t) => {
  const redis = await startRedis(t, { tcp: true })
  const tasks = defineTasks({ mail: { handler () {} } })
  const start = async (consume: boolean): Promise<number> => {
    const app = Fastify() as unknown as FastifyInstance
    t.teardown(() => app.close())
    await app.register(concurrency, { workers: false, redis: `redis://127.0.0.1:${redis.port}`, tasks: { tasks, consume }, dashboard: {} })
    await app.listen({ port: 0, host: '127.0.0.1' })
    return (app.server.address() as { port: number }).port
  }
  const port = await start(false)
  const admin = redis.client()
  const commands = async (): Promise<number> => Number(/total_commands_processed:(\d+)/.exec(await admin.info('stats'))?.[1])
  const queue = new Queue('{mail}', { prefix: 'fastify-concurrency:tasks', connection: redis.client({ maxRetriesPerRequest: null }) as never })
  t.teardown(async () => queue.close())
  const timestamp = Date.now() - 301_000
  await queue.add('mail', {}, { timestamp })
  const before = await commands()
  await setTimeout(2_500)
  t.equal(await commands(), before + 1, 'the one that asked for their number')

  const page = await listenTo(t, port)
  const isAbout = ({ id }: { id: string }): boolean => id === 'tasks unconsumed'
  const { state, problems } = await page.next('status', ({ problems }: Status) => problems.some(isAbout))
  t.equal(state, 'stalled')
  t.match(problems[0], { what: 'Tasks `mail` have stood still', why: '1 waits, and no process consumes it', advice: /worker/ })
  t.ok(Math.abs(problems[0]!.since - timestamp) < 10_000, 'since it was enqueued')
  await start(true)
  page.messages.length = 0
  await page.next('status', ({ problems }: Status) => !problems.some(isAbout))
})

t.test('Redis is asked what is stored while a page is open, and only then; one question at a time', async (t) => {
  let asked = 0
  let answer = deferred<never[]>()
  const app = Fastify() as unknown as FastifyInstance
  t.teardown(() => app.close())
  const queues = async (): Promise<never[]> => {
    asked++
    return await answer.promise
  }
  const engine: EngineFactory = async (host) => Object.assign(await memoryEngine(host), { queues })
  await app.register(tasksPlugin, { tasks: defineTasks({ mail: { handler () {} } }), engine })
  await app.register(metrics)
  await app.ready()
  const streams = new Streams()
  const feed = new Feed(app, streams, app.metrics.reader({ queues: false }), 'pod:1/0')
  t.teardown(() => feed.close())
  for (let n = 0; n < 5; n++) feed.tick()
  t.equal(asked, 0, 'nobody looks')
  const pages = { get size () { return 1 }, broadcast () {} }
  const watched = new Feed(app, pages as unknown as Streams, app.metrics.reader({ queues: false }), 'pod:1/0')
  t.teardown(() => watched.close())
  for (let n = 0; n < 5; n++) watched.tick()
  t.equal(asked, 1, 'the first question has no answer yet')
  answer.resolve([])
  answer = deferred()
  await new Promise((resolve) => setImmediate(resolve))
  watched.tick()
  t.equal(asked, 2)
  answer.resolve([])
})

t.test('in a browser, a row of a failed task keeps its place and is marked until the list is read again: two clicks retry one task', { skip: noBrowser === false ? skip : noBrowser }, async (t) => {
  const { port, fail, fix, get, ran } = await build(t)
  for (const id of ['ann', 'bob', 'cy']) await fail(id)
  fix()
  const page = await (await launch(t)).newPage()
  const complaints = complaintsOf(page)
  await page.goto(`http://127.0.0.1:${port}/dashboard/`)
  await page.locator('#status:has-text("3 tasks of mail have failed for good: they don\'t run again by themselves.")').waitFor()
  await page.locator('#phase[data-state=attention]').waitFor()
  await page.locator('#stored-rows button.plain', { hasText: 'mail' }).click()
  await page.locator('#failed-rows li').nth(2).waitFor()
  const box = await page.locator('#failed-rows li').first().locator('button:has-text("Retry")').boundingBox()
  const [x, y] = [(box?.x ?? 0) + 5, (box?.y ?? 0) + 5]
  await page.mouse.click(x, y)
  await page.locator('#failed-rows li:has-text("put back in line")').waitFor()
  await page.mouse.click(x, y)
  await until(() => ran.length === 1, 'cy has his mail')
  t.equal(await page.locator('#failed-rows li').count(), 3)
  t.equal(await page.textContent('#failed-said'), 'mail:cy was put back in line.', 'the id that the row shows')
  await page.locator('#incidents li:has-text("mail:cy was put back in line on the dashboard")').waitFor()
  t.equal(failedOf(await get({})).tasks.length, 2)
  t.match(await page.textContent('#failed-read'), /^Read at /)
  await page.locator('#failed-reload').click()
  await page.locator('#failed-rows li:has-text("mail:cy")').waitFor({ state: 'detached' })
  t.equal(await page.locator('#failed-rows li').count(), 2)
  t.strictSame(complaints, [])
})

t.test('in a browser, failed tasks are found, and discarded after a question; axe-core finds nothing serious in light and dark', { skip: noBrowser === false ? skip : noBrowser }, async (t) => {
  const { port, fail, get } = await build(t, { payloads: (_name, payload) => payload })
  for (const id of ['ann', 'bob']) await fail(id)
  const page = await (await launch(t)).newPage()
  const complaints = complaintsOf(page)
  await page.goto(`http://127.0.0.1:${port}/dashboard/`)
  await page.locator('#stored-rows button.plain', { hasText: 'mail' }).click()
  await page.locator('#failed-rows li').nth(1).waitFor()
  t.equal(await page.locator('#failed-rows b').count(), 0, 'HTML in an error is text')
  await page.locator('#failed-payloads').check()
  await page.locator('#failed-rows summary').first().click()
  await page.locator('#failed-rows pre:visible:has-text("hidden")').waitFor()
  await page.evaluate(readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8'))
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    const { violations } = await page.evaluate('axe.run()') as { violations: Array<{ id: string, impact: string, nodes: Array<{ html: string }> }> }
    t.strictSame(violations.filter(({ impact }) => impact === 'serious' || impact === 'critical').map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`), [], colorScheme)
  }
  await page.fill('#failed-search', 'bo')
  await page.locator('#failed-rows li:has-text("mail:ann")').waitFor({ state: 'detached' })
  await page.locator('#failed-rows button:has-text("Discard")').click()
  await page.locator('#confirm-no').click()
  t.equal(failedOf(await get({})).tasks.length, 2)
  await page.locator('#failed-rows button:has-text("Discard")').click()
  // A click that comes as soon as the question is there may have been meant for what was there before.
  await page.locator('#confirm-yes').click({ delay: 600 })
  await page.locator('#failed-said:has-text("was discarded")').waitFor()
  t.strictSame(failedOf(await get({})).tasks.map(({ id }) => id), ['mail:ann'])
  t.strictSame(complaints, [])
})
