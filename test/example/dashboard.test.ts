// The dashboard of the example in a real browser: what a new user sees who presses the buttons.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import Fastify, { type FastifyInstance } from 'fastify'
import concurrency from 'fastify-concurrency'
import type { Page } from 'playwright-core'
import t from 'tap'
import { deferred, rejection, until } from '../helper.ts'
import { noRedis, startRedis } from '../limiter/redis.ts'
import { complaintsOf, launch, skip } from './browser.ts'
import { execArgv, serve } from './helper.ts'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

const urlOf = (app: FastifyInstance): string => `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`

/** Serious findings of axe-core. The script is evaluated by the debugger, since the page's policy lets no other script in. */
async function seriousOf (page: Page): Promise<string[]> {
  await page.evaluate(axe)
  const { violations } = await page.evaluate('axe.run()') as { violations: Array<{ id: string, impact: string, nodes: Array<{ html: string }> }> }
  return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical').map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`)
}

/** Waits until a script's value holds. The debugger evaluates it each time: waitForFunction() would do so in the page, whose policy refuses that. */
async function holds (page: Page, script: string): Promise<void> {
  while (await page.evaluate(script) !== true) await page.evaluate('new Promise((resolve) => requestAnimationFrame(resolve))')
}

t.test('load from the buttons of the example moves the charts, and each refusal has its reason', { skip }, async (t) => {
  const app = await serve(t, () => {}, { limiter: {} })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const browser = await launch(t)
  const context = await browser.newContext({ viewport: { width: 1440, height: 1000 }, colorScheme: 'light' })
  const example = await context.newPage()
  await example.goto(`${urlOf(app)}/`)
  const opened = context.waitForEvent('page')
  await example.click('.load a')
  const page = await opened
  const complaints = complaintsOf(page)
  // The page's policy on its opener moves it to a process of its own; until then it can't be reloaded.
  await page.locator('#phase[data-state=serving]').waitFor()
  await page.reload()
  await page.locator('#phase[data-state=serving]').waitFor()
  await page.locator('canvas').first().waitFor()
  const picture = (): Promise<unknown> => page.evaluate('document.querySelector("canvas").toDataURL()')
  const before = await picture()

  await example.click('[data-load=searches]')
  await example.click('[data-load=flood]')
  await page.locator('#incidents li', { hasText: /limit plan.*it needed 1 token and its bucket had .* of 5; 2 tokens come back each second\..*GET \/search/is }).first().waitFor()
  await page.locator('#incidents li', { hasText: /job search.*(longer than|at most).*GET \/search/s }).first().waitFor()
  await holds(page, 'Number.parseFloat(document.querySelector(".tile .value").textContent) > 0')
  t.not(await picture(), before, 'the chart has moved')
  t.match(await page.textContent('.legend[aria-label^="Jobs a second"]'), /served\d/)
  await holds(page, '[...document.querySelectorAll(".panel h2")].some((title) => title.textContent.startsWith("Limits") && title.parentElement.hidden === false)')
  t.strictSame(await seriousOf(page), [], 'in the light theme, under load')
  await page.emulateMedia({ colorScheme: 'dark' })
  t.strictSame(await seriousOf(page), [], 'in the dark theme')
  const asked = page.waitForResponse(/\/dashboard\/history\?process=/)
  await page.click('#span-hour')
  t.match(await (await asked).json(), { samples: Array })
  await page.locator('#span-hour[aria-pressed=true]').waitFor()
  await page.click('#span-minutes')
  await page.locator('#span-hour[aria-pressed=false]').waitFor()
  for (const width of [800, 390]) {
    await page.setViewportSize({ width, height: 900 })
    // The charts follow the width of the page in a later frame.
    await holds(page, `document.documentElement.scrollWidth === ${width}`)
  }
  await example.locator('.load [role=status]:has-text("served")').waitFor()
  t.strictSame(complaints, [], 'no error in the console')
})

const REFUSALS = 24

/** Asks for each route `/refused/n`, spread over the service's seconds, and returns by how many ms each count on the page followed the answer. */
const measure = `(async () => {
  const seen = []
  let done
  const all = new Promise((resolve) => { done = resolve })
  const count = () => [...document.querySelectorAll('#incidents li[data-kind=refused]')].reduce((sum, card) => sum + Number(card.querySelector('.times')?.textContent.slice(1) ?? 1), 0)
  const before = count()
  new MutationObserver(() => {
    while (seen.length < count() - before) seen.push(performance.now())
    if (seen.length >= ${REFUSALS}) done()
  }).observe(document.getElementById('incidents'), { childList: true, subtree: true })
  const answered = []
  await Promise.all(Array.from({ length: ${REFUSALS} }, async (_, n) => {
    await new Promise((resolve) => setTimeout(resolve, n * 3_000 / ${REFUSALS}))
    const { status } = await fetch('/refused/' + n, { headers: { 'x-api-key': 'free-measured' } })
    answered.push({ status, at: performance.now() })
  }))
  await all
  return answered.map(({ status, at }, n) => ({ status, ms: seen[n] - at }))
})()`

t.test('a refusal is on the page within 1.5 s of its answer', { skip }, async (t) => {
  // The limits' clock stands still, so that no token comes back.
  const app = await serve(t, (app) => {
    for (let n = 0; n < REFUSALS; n++) {
      if (n % 2 === 0) app.get(`/refused/${n}`, { config: { limiter: { policies: ['plan'] } } }, async () => 'served')
      else app.get(`/refused/${n}`, async () => app.workers.run('search', { q: 'oslo' }))
    }
  }, { workers: { execArgv, maxThreads: 1, maxQueue: 0 }, limiter: { clock: { now: () => 1e6 } } })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const page = await (await launch(t)).newPage()
  await page.goto(`${urlOf(app)}/dashboard/`)
  await page.locator('#phase[data-state=serving]').waitFor()
  for (let n = 0; n < 5; n++) t.equal((await app.inject({ url: '/refused/0', headers: { 'x-api-key': 'free-measured' } })).statusCode, 200)
  const held = rejection(app.workers.run('stubborn', { ms: 60_000 }))
  await until(() => app.workers.stats().running === 1, 'the only thread is busy')

  const measured = await page.evaluate(measure) as Array<{ status: number, ms: number }>
  t.strictSame(measured.map(({ status }) => status).sort(), [...Array<number>(REFUSALS / 2).fill(429), ...Array<number>(REFUSALS / 2).fill(503)])
  const sorted = measured.map(({ ms }) => ms).sort((a, b) => a - b)
  const [median = NaN, worst = NaN] = [sorted[REFUSALS / 2], sorted.at(-1)]
  t.comment(`refusal → its line on the page, ${REFUSALS} refusals: median ${Math.round(median)} ms, worst ${Math.round(worst)} ms`)
  t.ok(worst < 3_000, `the worst took ${worst} ms`)
  app.workers.cancel(app.workers.running()[0]?.id ?? '')
  await held
})

t.test('a paused page stands still, and has what it missed when it goes on', { skip }, async (t) => {
  const app = await serve(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const context = await (await launch(t)).newContext()
  const [page, other] = [await context.newPage(), await context.newPage()]
  for (const each of [page, other]) {
    await each.goto(`${urlOf(app)}/dashboard/`)
    await each.locator('#phase[data-state=serving]').waitFor()
  }
  await page.locator('#pause').click()
  await page.locator('#phase:has-text("paused")').waitFor()
  await rejection(app.tasks.submit('mail:1', async () => { throw new Error('missed') }).done)
  await other.locator('#incidents li:has-text("missed")').waitFor()
  t.equal(await page.locator('#incidents li').count(), 0)
  await page.locator('#pause[aria-pressed=true]').click()
  await page.locator('#incidents li:has-text("missed")').waitFor()
  await page.locator('#phase[data-state=serving]').waitFor()
})

t.test('stored tasks are shown by name, as Redis counts them for all processes', { skip: skip === false ? await noRedis() : skip }, async (t) => {
  const redis = await startRedis(t, { tcp: true })
  const app = await serve(t, () => {}, { redisUrl: `redis://127.0.0.1:${redis.port}`, tasks: { consume: false } })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const page = await (await launch(t)).newPage()
  const complaints = complaintsOf(page)
  await page.goto(`${urlOf(app)}/dashboard/`)
  for (let n = 0; n < 3; n++) await app.tasks.enqueue('webhook', { id: String(n), type: 'paid', data: {} })
  await page.locator('#stored').waitFor()
  await app.tasks.enqueue('webhook', { id: 'later', type: 'paid', data: {} }, { delay: 60_000 })
  // Without the age of the oldest, which goes on.
  await holds(page, `[...document.querySelectorAll("#stored-rows tr:first-child > *")].map((cell) => cell.textContent.trim())
    .filter((_, index) => index !== 2).join() === "webhook,3,1,0,0,none,Pause"`)
  t.strictSame(await seriousOf(page), [])
  await redis.kill()
  await page.locator('#stored.past #stored-note:has-text("Redis doesn\'t answer")').waitFor()
  t.strictSame(complaints, [])
})

t.test('a stubborn job is cancelled by the keyboard, and its thread is replaced; a job that eats memory ends its thread only', { skip }, async (t) => {
  const app = await serve(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const page = await (await launch(t)).newPage({ viewport: { width: 1440, height: 1000 } })
  const complaints = complaintsOf(page)
  await page.goto(`${urlOf(app)}/dashboard`)
  await page.locator('#phase[data-state=serving]').waitFor()
  const stubborn = rejection(app.workers.run('stubborn', { ms: 60_000 }))
  const cancel = page.locator('#running li:has-text("stubborn") button')
  await cancel.waitFor()
  await cancel.focus()
  // The list is brought up to date each second, and must not take the focus from the button.
  await page.locator('#running li:has-text("for 2")').waitFor()
  t.equal(await page.evaluate('document.activeElement.textContent'), 'Cancel')
  for (const key of ['Enter', 'Enter']) await page.keyboard.press(key)
  await page.locator('#confirm').waitFor({ state: 'hidden' })
  t.equal(app.workers.running().length, 1, 'Enter, pressed again, answers no')
  for (const key of ['Enter', 'Tab', 'Enter']) await page.keyboard.press(key)
  t.match(await stubborn, { code: 'FC_ERR_JOB_ABORTED' })
  await page.locator('#said:has-text("was cancelled")').waitFor()
  await page.locator('#incidents li:has-text("thread"):has-text("went on after it was aborted")').waitFor()
  await page.locator('#running-empty').waitFor()

  t.match(await rejection(app.workers.run('hungry', undefined)), { code: 'FC_ERR_JOB_CRASHED' })
  await page.locator('#incidents li[data-kind=failed]:has-text("job hungry")').waitFor()
  t.match((await app.workers.run('search', { q: 'oslo' })).matches[0], { name: 'Oslo' }, 'the service goes on')
  t.strictSame(complaints, [])
})

t.test('the first line says what is wrong, who holds the threads, and what to do; two quick clicks cancel no job', { skip }, async (t) => {
  const app = await serve(t, (app) => {
    app.get('/work', async () => app.workers.run('search', { q: 'oslo' }))
  }, { workers: { execArgv, maxThreads: 1, maxQueue: 1 } })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const page = await (await launch(t)).newPage({ viewport: { width: 1440, height: 1000 } })
  await page.goto(`${urlOf(app)}/dashboard/`)
  await page.locator('#status:has-text("Serving.")').waitFor()
  const held = rejection(app.workers.run('stubborn', { ms: 60_000 }))
  await until(() => app.workers.stats().running === 1, 'the only thread is busy')
  const asked = Array.from({ length: 4 }, async () => (await fetch(`${urlOf(app)}/work`)).status)
  await page.locator('#phase[data-state=overloaded]').waitFor()
  await page.locator('#status p:first-child:has-text("Refusing all search jobs since"):has-text("stubborn has held the only thread for")').waitFor()
  t.match(await page.getAttribute('#status a', 'href'), /\/docs\/workers\.md#options-of-workers$/)
  await page.locator('#who-rows tr').first().waitFor()
  await page.locator('#waiting-rows tr:has-text("search")').waitFor()
  t.strictSame(await seriousOf(page), [])
  const cancel = page.locator('#running li:has-text("stubborn") button')
  await cancel.dblclick()
  await page.locator('#confirm').waitFor()
  t.strictSame(await seriousOf(page), [])
  t.equal(app.workers.running()[0]?.aborted, false)
  await page.locator('#confirm-no').click()
  await page.locator('#confirm').waitFor({ state: 'hidden' })
  t.equal(app.workers.running()[0]?.aborted, false)
  await cancel.click()
  // A click that comes as soon as the question is there may have been meant for what was there before.
  await page.locator('#confirm-yes').click({ delay: 600 })
  t.match(await held, { code: 'FC_ERR_JOB_ABORTED' })
  t.ok((await Promise.all(asked)).includes(503))
})

t.test('an application without a pool has no tiles about threads', { skip }, async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(concurrency, { workers: false, dashboard: {} })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const page = await (await launch(t)).newPage()
  await page.goto(`${urlOf(app as unknown as FastifyInstance)}/dashboard/`)
  await page.locator('.tile:visible').first().waitFor()
  t.strictSame(await page.locator('.tile:visible h2').allTextContents(), ['Refused', 'Event loop delay, p99'])
  t.ok(await page.locator('#jobs').isHidden())
})

t.test('HTML in names and errors is text', { skip }, async (t) => {
  const app = await serve(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const page = await (await launch(t)).newPage()
  const complaints = complaintsOf(page)
  await page.goto(`${urlOf(app)}/dashboard/`)
  await page.locator('#phase[data-state=serving]').waitFor()
  const html = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
  await rejection(app.tasks.submit(`${html}:1`, async () => { throw new Error(html) }).done)
  await page.locator(`#incidents li:has-text(${JSON.stringify(html)})`).first().waitFor()
  t.equal(await page.locator('#incidents img, #incidents script').count(), 0)
  t.match(await page.title(), /^Dashboard/)
  t.strictSame(complaints, [])
})

t.test('a shutdown has a banner with its phase; afterwards the page says that it was, and finds the process that follows', { skip }, async (t) => {
  const app = await serve(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const page = await (await launch(t)).newPage()
  await page.goto(`${urlOf(app)}/dashboard/`)
  await page.locator('#phase[data-state=serving]').waitFor()
  const hold = deferred()
  app.tasks.submit('mail:1', async () => hold.promise)
  const closed = app.lifecycle.shutdown('test')
  await page.locator('#status:has-text("Shutting down since"):has-text("background tasks are being finished")').waitFor()
  await page.locator('#phase[data-state=draining]').waitFor()
  t.strictSame(await seriousOf(page), [])
  hold.resolve()
  await closed
  await page.locator('#banner:has-text("The service has shut down.")').waitFor()
  await page.locator('#status:has-text("It has shut down, at ")').waitFor()
  t.strictSame(await seriousOf(page), [])
  // As behind a proxy whose service has not started yet.
  const proxy = createServer((_request, response) => response.writeHead(502).end())
  await new Promise<void>((resolve) => proxy.listen(port, '127.0.0.1', resolve))
  await once(proxy, 'request')
  await new Promise((resolve) => proxy.close(resolve))
  const next = await serve(t)
  await next.listen({ port, host: '127.0.0.1' })
  await page.locator('#phase[data-state=serving]').waitFor()
  await page.locator('#status:has-text("Serving.")').waitFor()
  t.ok(await page.locator('#banner').isHidden())
})

t.test('a page of a process that is frozen says that nobody answers, until somebody does', { skip }, async (t) => {
  const child = spawn(process.execPath, [...execArgv, fileURLToPath(new URL('frozen.ts', import.meta.url))], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const [line] = await once(child.stdout, 'data') as [Buffer]
  const page = await (await launch(t)).newPage()
  await page.goto(`http://127.0.0.1:${Number(String(line))}/dashboard/`)
  await page.locator('#status:has-text("Serving.")').waitFor()
  child.kill('SIGSTOP')
  await page.locator('#phase[data-state=lost]:text-matches("^no answer for [45] s$")').waitFor()
  await page.locator('#status[data-state=lost]:has-text("No answer for ")').waitFor()
  t.equal(await page.locator('#status:has-text("Serving.")').count(), 0)
  t.strictSame(await seriousOf(page), [])
  child.kill('SIGCONT')
  await page.locator('#phase[data-state=serving]').waitFor()
  await page.locator('#status:has-text("Serving.")').waitFor()
})
