import { deepEqual, equal, match } from 'node:assert/strict'

/** Sends `count` requests, one after the other. Resolves with their status codes and the last answer. */
async function ask (count, url, options) {
  const statuses = []
  let last
  for (let n = 0; n < count; n++) {
    last = await fetch(url, options)
    statuses.push(last.status)
  }
  return { statuses, last, body: await last.json() }
}

const login = (password) => ({ method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ name: 'ada', password }) })

export default async function ({ check, withApp }) {
  for (const limits of ['theirs', 'ours']) {
    const started = (run) => () => withApp(['app.js', limits], run)

    await check(`${limits}: a session, and the route of under-pressure`, started(async ({ url }) => {
      equal((await ask(1, `${url}/status`)).body.status, 'ok')
      equal((await fetch(`${url}/me`)).status, 401)
      const response = await fetch(`${url}/login`, login('right'))
      deepEqual([response.status, await response.json()], [200, { success: true }])
      const cookie = response.headers.get('set-cookie').split(';')[0]
      deepEqual((await ask(1, `${url}/me`, { headers: { cookie } })).body, { name: 'ada' })
    }))

    await check(`${limits}: a route's own limit of three, in place of the limit for all`, started(async ({ url }) => {
      const wrong = await ask(4, `${url}/login`, login('wrong'))
      deepEqual(wrong.statuses, [401, 401, 401, 429])
      match(wrong.last.headers.get('retry-after'), /^[1-9]\d*$/)
      deepEqual((await ask(21, url)).statuses, [...Array(20).fill(200), 429])
    }))

    await check(`${limits}: the limit for all leaves a route's own alone`, started(async ({ url }) => {
      const all = await ask(21, url)
      deepEqual(all.statuses, [...Array(20).fill(200), 429])
      match(all.last.headers.get('retry-after'), /^[1-9]\d*$/)
      deepEqual((await ask(4, `${url}/login`, login('wrong'))).statuses, [401, 401, 401, 429])
    }))

    await check(`${limits}: app.rateLimit() as preHandler of the handler of 404s`, started(async ({ url }) => {
      const missing = await ask(4, `${url}/missing`)
      deepEqual([missing.statuses, missing.body.message], [[404, 404, 404, 429], 'Rate limit exceeded'])
      equal((await fetch(url)).status, 200)
    }))

    await check(`${limits}: SIGTERM ends it with 0, and no line is an error`, started(async ({ url, terminate, exited, errors }) => {
      equal((await fetch(url)).status, 200)
      terminate()
      equal(await exited(), 0)
      deepEqual(errors(), [])
    }))
  }
}
