// Two processes behind a load balancer: the page is of one of them, and acts on that one only.
import { request as httpRequest, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { launch, skip } from '../example/browser.ts'
import { rejection, startJob, type TestWorkers } from '../helper.ts'
import { startDashboard } from './helper.ts'

t.test('Cancel ends no job of another process, whose jobs have the same ids, and the page says why', { skip }, async (t) => {
  const services = await Promise.all([0, 1].map(async () => await startDashboard(t, { dashboard: { authorize: () => true } })))
  const jobs = await Promise.all(services.map(async ({ app }) => {
    const workers = app.getDecorator<TestWorkers>('workers')
    const { ended } = await startJob(workers, 'spin', { ms: 60_000 })
    return { workers, ended }
  }))
  t.strictSame(jobs.map(({ workers }) => workers.running()[0]?.id), ['1', '1'])
  const goTo = { read: 0, act: 1 }
  const balancer = createServer((request, response) => {
    const { method = '', url = '', headers } = request
    const to = services[method === 'POST' || url.includes('history') ? goTo.act : goTo.read]
    httpRequest({ port: to?.port, path: url, method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 0, answer.headers)
      answer.pipe(response)
      response.on('close', () => answer.destroy())
    }).on('error', () => response.destroy()).end()
  }).listen(0, '127.0.0.1')
  t.teardown(() => {
    balancer.closeAllConnections()
    balancer.close()
  })
  const page = await (await launch(t)).newPage()
  await page.goto(`http://127.0.0.1:${(balancer.address() as AddressInfo).port}/dashboard/`)
  await page.locator(`#process:has-text(":${process.pid}")`).waitFor()
  const cancel = async (): Promise<void> => {
    await page.locator('#running button').click()
    // A click that comes as soon as the question is there may have been meant for what was there before.
    await page.locator('#confirm-yes').click({ delay: 600 })
  }
  await cancel()
  await page.locator('#said:has-text("was not cancelled: This page shows the process"):has-text("and the request has reached")').waitFor()
  t.strictSame(jobs.map(({ workers }) => workers.running()[0]?.aborted), [false, false])
  const asked = page.waitForResponse(/\/dashboard\/history/)
  await page.click('#span-hour')
  t.match(await (await asked).json(), { code: 'FC_ERR_DASHBOARD_PROCESS', statusCode: 409 })
  goTo.act = 0
  await cancel()
  t.match(await rejection(jobs[0]?.ended as Promise<unknown>), { code: 'FC_ERR_JOB_ABORTED' })
  t.equal(jobs[1]?.workers.running()[0]?.aborted, false)
  jobs[1]?.workers.cancel('1')
  await rejection(jobs[1]?.ended as Promise<unknown>)
})
