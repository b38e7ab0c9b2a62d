import { equal } from 'node:assert/strict'
import { http } from '../shared/clients.js'

const answer = '200 {"data":{"work":"done"}}'
const ask = (url, ms) => http(`${url}/graphql`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ query: `{ work(ms: ${ms}) }` }) })
const subscribe = (url) => http(`${url}/graphql?query=subscription{events}`, { headers: { accept: 'text/event-stream' } })

export default async function ({ check, withApp, survives }) {
  await check('answers', () => withApp(['app.js'], async ({ url }) => {
    equal(await ask(url, 1).ended, answer)
  }))
  await survives('', ['app.js'], {
    'a query': { ask, answer },
    'a subscription': { ask: subscribe, answer: '200 :\n\nevent: next\ndata: {"data":{"events":"first"}}\n\n' }
  }, 20)
}
