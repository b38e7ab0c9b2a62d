// A service that does almost nothing, bare or with request.disconnected, without or with the ambient request.
import cancellation from 'fastify-concurrency/cancellation'
import { serve } from '../lib/serve.mjs'

const how = process.argv[2]

await serve(async (app) => {
  if (how !== 'bare') await app.register(cancellation, { ambient: how === 'ambient' })
  // AsyncLocalStorage costs by the promise on Node 20: a handler that awaits a few things, as most do.
  app.get('/work', async () => {
    for (let i = 0; i < 10; i++) await undefined
    return { hello: 'world' }
  })
})
