import { equal } from 'node:assert/strict'
import { createTRPCClient, createWSClient, httpLink, wsLink } from '@trpc/client'
import { WebSocket } from 'ws'

function query (url, ms) {
  const leaving = new AbortController()
  const client = createTRPCClient({ links: [httpLink({ url: `${url}/trpc` })] })
  const ended = client.work.query(ms, { signal: leaving.signal })
  return { ended, leave: () => leaving.abort() }
}

/** A subscription over a WebSocket. Ends with the first event, and the code that the socket is closed with. */
function subscribe (url) {
  let first, connection
  const ended = new Promise((resolve) => {
    const socket = createWSClient({
      url: `${url.replace('http', 'ws')}/trpc`,
      WebSocket,
      onOpen: () => { connection = socket.connection.ws },
      onClose: ({ code }) => {
        resolve(`${first} ${code}`)
        // It would connect again.
        socket.close()
      }
    })
    const client = createTRPCClient({ links: [wsLink({ client: socket })] })
    client.events.subscribe(undefined, { onData: (data) => { first = data } })
  })
  return { ended, leave: () => connection.terminate() }
}

export default async function ({ check, withApp, survives }) {
  await check('answers', () => withApp(['app.js'], async ({ url }) => {
    equal(await query(url, 1).ended, 'done')
  }))
  await survives('', ['app.js'], {
    'a query': { ask: query, answer: 'done' },
    'a subscription': { ask: subscribe, answer: 'first 1001' }
  })
}
