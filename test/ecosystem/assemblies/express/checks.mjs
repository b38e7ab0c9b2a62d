import { equal } from 'node:assert/strict'
import { http } from '../shared/clients.js'

const ways = {
  'a request': { ask: (url, ms) => http(`${url}/work?ms=${ms}`), answer: '200 done' },
  'a stream': { ask: (url, ms) => http(`${url}/stream?ms=${ms}`), answer: '200 begun, done' },
  // The suite can't tell whether Express works on for a client that has left: the drain waits for `timeout`.
  'a request that Express answers': { stays: true, ask: (url, ms) => http(`${url}/express?ms=${ms}`), answer: '200 done' }
}

export default async function ({ check, withApp, survives }) {
  await check('answers', () => withApp(['app.js', 'awaited'], async ({ url }) => {
    const response = await fetch(`${url}/work?ms=1`)
    equal(response.headers.get('x-express'), 'yes')
    equal(await response.text(), 'done')
  }))
  for (const registration of ['awaited', 'immediate']) await survives(`${registration}, `, ['app.js', registration], ways, 20)
}
