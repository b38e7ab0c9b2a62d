import t, { type Test } from 'tap'
import { noRedis, startRedis } from '../limiter/redis.ts'
import { serve } from './helper.ts'
import { makeJpeg } from './pictures.ts'

const clock = { now: () => 1e6 }

t.test('/search is limited by plan: the API key\'s, or the free one of the address', async (t) => {
  const app = await serve(t, undefined, { limiter: { clock } })
  const search = async (key?: string) => await app.inject({ url: '/search?q=rome', headers: key === undefined ? {} : { 'x-api-key': key } })
  const statuses = async (count: number, key?: string) => (await Promise.all(Array.from({ length: count }, () => search(key)))).map(({ statusCode }) => statusCode)
  t.same((await statuses(6)).toSorted(), [200, 200, 200, 200, 200, 429])
  t.same((await statuses(6, 'free-bob')).toSorted(), [200, 200, 200, 200, 200, 429])
  t.equal((await search('pro-ada')).headers['ratelimit-policy'], '"client";q=60;w=3, "plan";q=50;w=3')
  const refused = await search('free-bob')
  t.match(refused.json(), { policy: 'plan', retryAfter: 1 })
  t.notMatch(JSON.stringify(refused.headers), /service/)
})

t.test('a thumbnail costs five times as much', async (t) => {
  const app = await serve(t, undefined, { limiter: { clock } })
  const { headers, statusCode } = await app.inject({
    method: 'POST', url: '/thumbnails?width=8', payload: makeJpeg(8, 8, () => [0, 0, 0]), headers: { 'content-type': 'image/jpeg' }
  })
  t.equal(statusCode, 200)
  t.match(headers['ratelimit'], /^"client";r=55;/)
})

t.test('a page that polls, and who watches over the process, never meet a limit', async (t) => {
  const app = await serve(t, undefined, { limiter: { clock } })
  for (const url of ['/', '/style.css', '/page.js', '/ping', '/stats', '/live', '/ready']) {
    for (let i = 0; i < 70; i++) {
      const { statusCode, headers } = await app.inject(url)
      if (statusCode !== 200 || 'ratelimit' in headers) t.fail(`${url}: ${statusCode}`)
    }
  }
  t.match((await app.inject('/mails')).headers['ratelimit'], /^"client";r=59;/, 'none of them took a token')
})

t.test('mails keep to the mail server\'s limit', async (t) => {
  const app = await serve(t, undefined, { limiter: { clock } })
  await app.inject({ method: 'POST', url: '/users', payload: { name: 'Ada', email: 'ada@example.com' } })
  await app.tasks.idle()
  t.equal((await app.limiter.peek('outbound')).tokens, 99)
})

const skip = await noRedis()

t.test('with a Redis two processes share their limits; without it each goes on alone', { skip }, async (t: Test) => {
  const redis = await startRedis(t, { tcp: true })
  const redisUrl = `redis://127.0.0.1:${redis.port}`
  const [one, other] = await Promise.all([serve(t, undefined, { redisUrl, limiter: {} }), serve(t, undefined, { redisUrl, limiter: {} })])
  const client = redis.client()
  const ask = async (app: typeof one) => (await app.inject('/mails')).statusCode
  // Until both have found Redis.
  for (const app of [one, other]) {
    await client.flushall()
    while (await client.exists('{fastify-concurrency:limiter}:client:127.0.0.1') === 0) t.equal(await ask(app), 200)
  }
  await client.flushall()
  const statuses = await Promise.all(Array.from({ length: 400 }, (_, index) => ask(index % 2 === 0 ? one : other)))
  const passed = statuses.filter((status) => status === 200).length
  t.ok(passed >= 60 && passed < 120, `${passed} of 400: one burst of 60, and what flowed back meanwhile`)
  await redis.kill()
  t.equal((await one.inject('/mails')).statusCode, 200)
})
