import { equal } from 'node:assert/strict'
import { once } from 'node:events'
import { http, socket } from '../shared/clients.js'

const ways = {
  'a request': { ask: (url, ms) => http(`${url}/work?ms=${ms}`), answer: '200 done' },
  'an event stream': { ask: (url) => http(`${url}/events`), answer: '200 \nid: 1\ndata: first\n\n' },
  'a WebSocket': { ask: (url) => socket(`${url}/socket`), answer: 1001 }
}

export default async function ({ check, withApp, survives }) {
  for (const registration of ['immediate', 'awaited']) {
    const args = ['app.js', registration]
    await check(`${registration}, answers`, () => withApp(args, async ({ url }) => {
      equal(await http(`${url}/work?ms=1`).ended, '200 done')
      const refused = await fetch(`${url}/refused`)
      equal(refused.status, 503)
      equal(refused.headers.get('retry-after'), '3')
      const { client } = socket(`${url}/socket`)
      await once(client, 'open')
      client.send('{"event":"echo","data":"hello"}')
      const [echoed] = await once(client, 'message')
      equal(echoed.toString(), '"hello"')
    }))
    await survives(`${registration}, `, args, ways)
  }
}
