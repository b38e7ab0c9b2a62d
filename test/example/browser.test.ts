// The page in a real browser: upload a picture and see the thumbnail, start a slow search, change one's mind, see it cancelled.
import { existsSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { chromium, type Browser } from 'playwright-core'
import t, { type Test } from 'tap'
import { serve } from './helper.ts'
import { makePng } from './pictures.ts'

const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium'
const args = ['--no-sandbox', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run']

// Skipped, and said so, where there is no browser; an error where all must run.
const skip = !existsSync(executablePath) && process.env['FC_REQUIRE_ALL'] !== '1' ? `no browser at ${executablePath}: set CHROMIUM` : false

async function launch (t: Test): Promise<Browser> {
  const browser = await chromium.launch({ executablePath, args })
  t.teardown(() => browser.close())
  return browser
}

t.test('the page', { skip }, async (t) => {
  const app = await serve(t)
  await app.listen({ port: 0 })
  const browser = await launch(t)
  const page = await browser.newPage()
  const complaints: string[] = []
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('console', (message) => { if (message.type() === 'error') complaints.push(message.text()) })
  await page.goto(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}/`)
  await page.locator('#threads .free').nth(1).waitFor()

  // A picture
  await page.setInputFiles('#file', { name: 'photo.png', mimeType: 'image/png', buffer: makePng(300, 200, (x, y) => [x % 256, y, 80]) })
  await page.fill('#width', '150')
  await page.click('#thumbnail [type=submit]')
  await page.locator('#thumbnail[data-state=done] img').waitFor()
  t.same(await page.evaluate('(({ naturalWidth, naturalHeight }) => [naturalWidth, naturalHeight])(document.querySelector("#thumbnail img"))'), [150, 100])

  // A file that isn't one
  await page.setInputFiles('#file', { name: 'photo.png', mimeType: 'image/png', buffer: Buffer.from('no picture') })
  await page.click('#thumbnail [type=submit]')
  await page.locator('#thumbnail[data-state=failed]').waitFor()
  t.match(await page.textContent('#thumbnail [role=status]'), /^415: Send a JPEG or a PNG/)
  t.match(complaints.splice(0), [/415/], 'the browser notes the status by itself')

  // A change of mind
  await page.click('#search [type=submit]')
  await page.locator('#threads .busy').waitFor()
  await page.locator('#search [role=status]:has-text("of the cities")').waitFor()
  await page.click('#search [data-cancel]')
  await page.locator('#search[data-state=cancelled] [role=status]:has-text("its thread is free")').waitFor()
  t.equal(await page.textContent('[data-job=search] td:nth-of-type(2)'), '1', 'one cancelled')
  await app.workers.idle()
  t.match(app.workers.stats().jobs['search'], { aborted: 1, completed: 0 }, 'the pool says so too')

  // A quick one on the thread that was freed
  await page.click('#quick')
  await page.locator('#search[data-state=done] li:has-text("Tokyo")').waitFor()

  await page.click('#password [type=submit]')
  await page.locator('#password[data-state=done] output:has-text("$scrypt$")').waitFor()
  t.same(complaints, [], 'no error in the console')
})

t.test('the four cards are a row on a desktop, and a stack on a phone', { skip }, async (t) => {
  const app = await serve(t)
  await app.listen({ port: 0 })
  const browser = await launch(t)
  for (const [width, columns] of [[1440, 4], [800, 2], [390, 1]] as const) {
    const page = await browser.newPage({ viewport: { width, height: 900 } })
    await page.goto(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}/`)
    const cards = await Promise.all((await page.locator('.card').all()).map((card) => card.boundingBox()))
    const pool = await page.locator('.pool').boundingBox()
    t.equal(cards.length, 4)
    t.equal(new Set(cards.map((box) => Math.round(box?.x ?? NaN))).size, columns, `${columns} columns at ${width} px`)
    t.equal(Math.max(...cards.map((box) => Math.round((box?.x ?? NaN) + (box?.width ?? NaN)))), Math.round((pool?.x ?? NaN) + (pool?.width ?? NaN)), 'the row is filled')
    t.equal(await page.evaluate('document.documentElement.scrollWidth'), width, 'nothing is wider than the screen')
    await page.close()
  }
})
