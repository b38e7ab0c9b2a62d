import { equal } from 'node:assert/strict'
import { io } from 'socket.io-client'
import { http } from '../shared/clients.js'

/** A client of Socket.IO. Ends with the reason that it is disconnected for. */
function connect (url, transport) {
  const client = io(url, { transports: [transport], reconnection: false, forceNew: true })
  let resolve
  const ended = new Promise((_resolve) => { resolve = _resolve })
  client.on('disconnect', resolve).on('connect_error', ({ message }) => resolve(message))
  const leave = () => {
    client.disconnect()
    // A client that leaves while it connects has no such event.
    resolve('left')
  }
  return { ended, leave, client }
}

export default async function ({ check, withApp, survives }) {
  await check('answers', () => withApp(['app.js'], async ({ url }) => {
    equal(await http(`${url}/work?ms=1`).ended, '200 done')
    for (const transport of ['websocket', 'polling']) {
      const { client } = connect(url, transport)
      equal(await client.emitWithAck('echo', 'hello'), 'hello')
      client.disconnect()
    }
  }))
  await survives('', ['app.js'], {
    'a request': { ask: (url, ms) => http(`${url}/work?ms=${ms}`), answer: '200 done' },
    'a WebSocket': { ask: (url) => connect(url, 'websocket'), answer: 'io server disconnect' },
    'a client that polls': { ask: (url) => connect(url, 'polling'), answer: 'io server disconnect' }
  }, 20)
}
