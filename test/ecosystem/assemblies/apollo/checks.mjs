import { deepEqual, equal, match } from 'node:assert/strict'
import { http } from '../shared/clients.js'

const answer = '200 {"data":{"work":"done"}}\n'
const ask = (url, ms) => http(`${url}/graphql`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ query: `{ work(ms: ${ms}) }` }) })

export default async function ({ check, withApp, survives }) {
  await check('answers', () => withApp(['app.js'], async ({ url }) => {
    equal(await ask(url, 1).ended, answer)
  }))
  await survives('', ['app.js'], { 'a query': { ask, answer } }, 20)
  await check('SIGTERM with Apollo\'s own handlers: all is answered, and the log names the remedy', () => withApp(['app.js', 'own'], async (app) => {
    const asked = Array.from({ length: 20 }, () => ask(app.url, 1_000))
    await app.logged(({ msg }) => msg === 'work begins', 20)
    app.terminate()
    const { msg } = await app.logged(({ msg }) => /^shutdown: app.close\(\) was called/.test(msg))
    match(msg, /Apollo Server: stopOnTerminationSignals: false/)
    deepEqual(await Promise.all(asked.map(({ ended }) => ended)), asked.map(() => answer))
    equal(await app.exited(), 'SIGTERM')
  }))
}
