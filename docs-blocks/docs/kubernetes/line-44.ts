declare const pool: { query: (text: string) => Promise<unknown> }
// app.js, or app.ts: `pool` is your database client
import closeWithGrace from 'close-with-grace'
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'

const app = Fastify({ logger: true, trustProxy: ['10.0.0.0/8'] })
await app.register(concurrency, {
  lifecycle: {
    readyPath: '/ready',
    livePath: '/live',
    ready: [async function database () { await pool.query('SELECT 1') }],   // a query that hangs fails after readyTimeout
    delay: 5_000,
    timeout: 20_000
  }
})

closeWithGrace({ delay: 25_000, logger: app.log }, ({ signal, err }) => {
  if (err !== undefined) app.log.fatal({ err }, 'uncaught error')
  return app.lifecycle.shutdown(signal ?? err?.message)
})

await app.listen({ port: 3000, host: '0.0.0.0' })
export {}
