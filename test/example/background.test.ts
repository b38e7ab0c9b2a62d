import { createServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import t from 'tap'
import { deferred } from '../helper.ts'
import { serve } from './helper.ts'

t.test('users: 201 at once, the welcome by real SMTP', async (t) => {
  const app = await serve(t)
  const answer = await app.inject({ method: 'POST', url: '/users', payload: { name: 'Ada', email: 'ada@example.com' } })
  t.equal(answer.statusCode, 201)
  t.same(answer.json(), { id: 1, name: 'Ada', email: 'ada@example.com' })
  await app.tasks.idle()
  t.match((await app.inject('/mails')).json(), [{ to: 'ada@example.com', subject: 'Welcome, Ada', text: 'It is good to have you here.' }])

  for (const payload of [{ name: 'Ada' }, { name: 'Ada', email: 'nowhere' }, { name: 'Ada\r\nBcc: all', email: 'a@b.cd' }, { name: '', email: 'a@b.cd' }]) {
    t.equal((await app.inject({ method: 'POST', url: '/users', payload })).statusCode, 400, JSON.stringify(payload))
  }
})

t.test('users: no room for the mail, no user', async (t) => {
  const app = await serve(t, undefined, { tasks: { concurrency: 1, maxQueue: 0 } })
  const go = deferred()
  const blocking = app.tasks.submit('block', () => go.promise)
  const refused = await app.inject({ method: 'POST', url: '/users', payload: { name: 'Ada', email: 'ada@example.com' } })
  t.equal(refused.statusCode, 503)
  t.ok(Number(refused.headers['retry-after']) >= 1)
  go.resolve()
  await blocking.done
  const user = await app.inject({ method: 'POST', url: '/users', payload: { name: 'Bob', email: 'bob@example.com' } })
  t.equal(user.json().id, 1, 'the first that was written')
})

t.test('users: a mail that was accepted is sent before the service has shut down', async (t) => {
  const app = await serve(t)
  await app.inject({ method: 'POST', url: '/users', payload: { name: 'Ada', email: 'ada@example.com' } })
  const { unfinished, completed } = await app.lifecycle.shutdown('test')
  t.same(unfinished, [])
  // The request may end a moment after its answer, and then it counts too.
  t.ok(completed >= 1, 'the mail')
})

t.test('users: a mail server that refuses for now is tried again', async (t) => {
  const attempts = deferred()
  let connections = 0
  const broken = createServer((socket) => {
    if (++connections === 2) attempts.resolve()
    socket.end('421 Not now\r\n')
  }).listen(0, '127.0.0.1')
  await once(broken, 'listening')
  t.teardown(() => broken.close())
  const app = await serve(t, undefined, { smtpUrl: `smtp://127.0.0.1:${(broken.address() as AddressInfo).port}` })
  t.equal((await app.inject({ method: 'POST', url: '/users', payload: { name: 'Ada', email: 'ada@example.com' } })).statusCode, 201)
  await attempts.promise
  t.same((await app.inject('/mails')).json(), [])
})

t.test('webhooks: 202 each, one that is repeated joins, 503 when full; 10,000 at once are bounded, and liveness answers', async (t) => {
  const app = await serve(t, undefined, { tasks: { concurrency: 4, maxQueue: 100 } })
  const post = async (id: string) => (await app.inject({ method: 'POST', url: '/webhooks', payload: { id, type: 'paid' } })).statusCode
  t.same(await Promise.all([post('a'), post('a'), post('b')]), [202, 202, 202])
  await app.tasks.idle()

  const go = deferred()
  for (let i = 0; i < 104; i++) app.tasks.submit(`block:${i}`, () => go.promise, { key: String(i) })
  t.equal(await post('c'), 503)
  const flood = Promise.all(Array.from({ length: 10_000 }, (_, i) => post(`flood-${i}`)))
  t.equal((await app.inject('/live')).statusCode, 200)
  t.same(new Set(await flood), new Set([503]))
  t.match(app.tasks.stats(), { waiting: 100, reserved: 0 })
  go.resolve()
  await app.tasks.idle()
})

t.test('report: several searches at once, in the order of the questions', async (t) => {
  const app = await serve(t)
  const answer = await app.inject('/report?q=tokoy&q=pariss')
  t.equal(answer.statusCode, 200)
  t.match(answer.json(), [{ q: 'tokoy', best: { name: 'Tokyo' } }, { q: 'pariss', best: { name: 'Paris' } }])
  t.equal((await app.inject('/report')).statusCode, 400)
  t.equal((await app.inject(`/report?${'q=a&'.repeat(9)}`)).statusCode, 400)
})
