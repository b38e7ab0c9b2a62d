// Upgrades, as those of websockets, are no requests of Fastify: they go through while requests are held.
import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { spin, startLoop, times, together } from './helper.ts'

t.test('a connection is upgraded, and its messages are answered, while requests are held', async (t) => {
  let runs = 0
  const { app, port } = await startLoop(t, {}, (app) => { app.get('/work', () => { runs++; spin(10); return '' }) })
  app.server.on('upgrade', (_request, socket) => {
    socket.on('error', () => {})
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
    socket.on('data', (data: Buffer) => { socket.end(`${String(data)} ${runs}`) })
  })
  const answers = together(app, port, times(30, '/work'))
  const client = connect(port, '127.0.0.1').setEncoding('utf8')
  client.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
  const [head] = await once(client, 'data') as [string]
  t.match(head, 'HTTP/1.1 101')
  client.write('hello')
  const [message] = await once(client, 'data') as [string]
  const [word, ran] = message.split(' ')
  t.equal(word, 'hello')
  t.ok(Number(ran) < 30, `it was answered after ${ran} of 30 requests`)
  t.strictSame((await answers).map(({ status }) => status), times(30, 200))
  t.ok(app.loop.stats().started > 0, 'some were held')
})
