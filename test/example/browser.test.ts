// The page in a real browser: upload a picture and see the thumbnail, start a slow search, change one's mind, see it cancelled.
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { launch, skip } from './browser.ts'
import { serve } from './helper.ts'
import { makePng } from './pictures.ts'
import { until } from '../helper.ts'

t.test('the page', { skip }, async (t) => {
  const app = await serve(t)
  await app.listen({ port: 0 })
  const browser = await launch(t)
  const page = await browser.newPage()
  const complaints: string[] = []
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('console', (message) => { if (message.type() === 'error') complaints.push(message.text()) })
  await page.goto(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}/`)

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
  await page.locator('#search [role=status]:has-text("of the cities")').waitFor()
  await page.click('#search [data-cancel]')
  await page.locator('#search[data-state=cancelled] [role=status]:has-text("Cancelled after")').waitFor()
  await until(() => app.workers.stats().jobs['search']?.aborted === 1, 'the pool hears of it')
  await app.workers.idle()
  t.match(app.workers.stats().jobs['search'], { aborted: 1, completed: 0 })

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
    const load = await page.locator('.load').boundingBox()
    t.equal(cards.length, 4)
    t.equal(new Set(cards.map((box) => Math.round(box?.x ?? NaN))).size, columns, `${columns} columns at ${width} px`)
    t.equal(Math.max(...cards.map((box) => Math.round((box?.x ?? NaN) + (box?.width ?? NaN)))), Math.round((load?.x ?? NaN) + (load?.width ?? NaN)), 'the row is filled')
    t.equal(await page.evaluate('document.documentElement.scrollWidth'), width, 'nothing is wider than the screen')
    await page.close()
  }
})
