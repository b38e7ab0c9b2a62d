// Proxies in front of a service whose dashboard has no `authorize`: what they forward is refused, though it comes from this machine.
import type { AddressInfo } from 'node:net'
import httpProxy from '@fastify/http-proxy'
import replyFrom from '@fastify/reply-from'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { whyNotListening } from '../../plugins/dashboard/guard.ts'
import concurrency from '../../plugins/index.ts'
import { logLines, rejection, startJob, type TestWorkers } from '../helper.ts'
import { send, startDashboard } from './helper.ts'

const requests = [['GET', '/dashboard'], ['GET', '/dashboard/'], ['GET', '/dashboard/main.js'], ['GET', '/dashboard/events'], ['POST', '/dashboard/cancel?pool=workers&id=1']] as const

/** What strangers send to a proxy: a browser, a program, and one that forges what a page of the dashboard would send. */
const strangers = [{ 'sec-fetch-site': 'none' }, {}, { 'sec-fetch-site': 'same-origin' }]

const proxies: Record<string, (gateway: FastifyInstance, upstream: string) => Promise<void>> = {
  '@fastify/http-proxy': async (gateway, upstream) => { await gateway.register(httpProxy, { upstream }) },
  '@fastify/http-proxy over node:http': async (gateway, upstream) => { await gateway.register(httpProxy, { upstream, http: {} }) },
  '@fastify/reply-from': async (gateway, upstream) => {
    await gateway.register(replyFrom, { base: upstream })
    gateway.all('/*', (_request, reply) => reply.from())
  }
}

for (const [name, register] of Object.entries(proxies)) {
  t.test(`${name} gets nothing: neither page nor script, nor stream, nor Cancel`, async (t) => {
    const { app, port } = await startDashboard(t)
    const workers = app.getDecorator<TestWorkers>('workers')
    const { ended } = await startJob(workers, 'spin', { ms: 60_000 })
    const [job] = workers.running()
    const gateway = Fastify()
    t.teardown(() => gateway.close())
    await register(gateway, `http://localhost:${port}`)
    await gateway.listen({ port: 0, host: '127.0.0.1' })
    const { port: public_ } = gateway.server.address() as AddressInfo
    for (const [method, path] of [...requests, ['POST', `/dashboard/cancel?pool=workers&id=${job?.id}`] as const]) {
      for (const headers of strangers) {
        for (const host of ['service.example', `localhost:${port}`]) {
          const { status, body } = await send(public_, path, { method, headers: { host, ...headers } })
          t.match([status, body], [403, /FC_ERR_DASHBOARD_FORBIDDEN/], `${method} ${path}`)
        }
      }
    }
    t.match(workers.running(), [{ aborted: false }])
    t.equal((await send(port, '/dashboard/')).status, 200, 'the developer beside it sees the page')
    workers.cancel(String(job?.id))
    await rejection(ended)
  })
}

t.test('a proxy that speaks HTTP/2 gets nothing', async (t) => {
  const app = Fastify({ http2: true })
  t.teardown(() => app.close())
  await app.register(concurrency as never, { dashboard: {} })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const gateway = Fastify()
  t.teardown(() => gateway.close())
  await gateway.register(httpProxy, { upstream: `http://localhost:${(app.server.address() as AddressInfo).port}`, http2: true })
  await gateway.listen({ port: 0, host: '127.0.0.1' })
  const { status, body } = await send((gateway.server.address() as AddressInfo).port, '/dashboard/')
  t.match([status, body], [403, /HTTP\/2/])
})

t.test('a service that listens for other machines shows it to nobody without authorize, and says so', async (t) => {
  for (const address of ['127.0.0.1', '127.1.2.3', '::1', '::ffff:127.0.0.1']) t.equal(whyNotListening([address]), undefined, address)
  for (const address of ['0.0.0.0', '::', '10.0.0.1', 'fe80::1']) t.match(whyNotListening(['127.0.0.1', address]), /for other machines/, address)
  t.equal(whyNotListening([]), undefined, 'inject() needs no address')
  const { lines, logger } = logLines()
  const app = Fastify({ logger }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(concurrency, { dashboard: {} })
  await app.listen({ port: 0, host: '0.0.0.0' })
  const { port } = app.server.address() as AddressInfo
  for (const [method, path] of requests) t.match(await send(port, path, { method }), { status: 403, body: /listens on 0\.0\.0\.0/ }, path)
  t.equal((await app.inject('/dashboard/')).statusCode, 403)
  t.match(lines.filter(({ msg }) => msg.startsWith('dashboard:')), [{ level: 40, msg: /^dashboard: closed, because the service listens on 0\.0\.0\.0/ }])
})
