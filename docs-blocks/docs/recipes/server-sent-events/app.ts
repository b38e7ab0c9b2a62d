// app.ts
import { PassThrough } from 'node:stream'
import closeWithGrace from 'close-with-grace'
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'

const app = Fastify()
await app.register(concurrency)

app.get('/events', async (_request, reply) => {
  const events = new PassThrough()
  const send = (data: string): void => { events.write(`data: ${data}\n\n`) }
  const timer = setInterval(() => send('tick'), 1_000)
  const removeHook = app.lifecycle.onShutdown(() => { events.end('event: restart\ndata: back in a moment\n\n') })
  events.once('close', () => {                              // the client has left, or the stream has ended
    clearInterval(timer)
    removeHook()
  })
  send('hello')
  return reply.type('text/event-stream').send(events)
})

closeWithGrace({ delay: 10_000 }, ({ signal, err }) => {
  if (err !== undefined) app.log.fatal({ err }, 'uncaught error')
  return app.lifecycle.shutdown(signal ?? err?.message)
})

await app.listen({ port: 3000 })
