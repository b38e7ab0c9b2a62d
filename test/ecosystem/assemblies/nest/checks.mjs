import { deepEqual, equal, match } from 'node:assert/strict'
import { once } from 'node:events'
import { http, socket } from '../shared/clients.js'

const ways = {
  'a request': { ask: (url, ms) => http(`${url}/work?ms=${ms}`), answer: '200 done' },
  'an event stream': { ask: (url) => http(`${url}/events`), answer: '200 \nid: 1\ndata: first\n\n' },
  'a WebSocket': { ask: (url) => socket(`${url}/socket`), answer: 1001 }
}

export default async function ({ check, withApp, survives, survivesSigterm }) {
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
    await survivesSigterm(`${registration}, `, args, { 'a request that waits': { ask: (url, ms) => http(`${url}/wait?ms=${ms}`), answer: '200 done' } }, 20)
  }
  await check('SIGTERM with enableShutdownHooks(): all is answered, and the log names the remedy', () => withApp(['app.js', 'hooks'], async (app) => {
    const asked = Array.from({ length: 20 }, () => http(`${app.url}/wait?ms=1000`))
    await app.logged(({ msg }) => msg === 'work begins', 20)
    app.terminate()
    const { msg } = await app.logged(({ msg }) => /^shutdown: app.close\(\) was called/.test(msg))
    match(msg, /NestJS: no enableShutdownHooks\(\)/)
    deepEqual(await Promise.all(asked.map(({ ended }) => ended)), asked.map(() => '200 done'))
    equal(await app.exited(), 'SIGTERM')
  }))
}
