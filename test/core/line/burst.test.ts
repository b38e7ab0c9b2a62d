// A burst on an idle pool, as a user sees it: requests over sockets, and no option of admission set.
import t from 'tap'
import { request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { startApp } from '../../helper.ts'

t.test('a page of thirty thumbnails is served whole, one client or seven, also when the run time is known', async (t) => {
  const { app } = await startApp(t, { maxThreads: 2 }, {}, (app, workers) => {
    app.get('/thumbnail', async (request) => workers.run('spin', { ms: 100 }, { key: String(request.headers['x-key']) }))
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const get = (key: string): Promise<number | undefined> => new Promise((resolve, reject) => {
    request({ port, host: '127.0.0.1', path: '/thumbnail', headers: { 'x-key': key } }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode))
    }).on('error', reject).end()
  })
  for (const keys of [1, 1, 7]) {
    const statuses = await Promise.all(Array.from({ length: 30 }, (_, index) => get(`client ${index % keys}`)))
    t.same(statuses, new Array(30).fill(200), `${keys} keys`)
  }
})
