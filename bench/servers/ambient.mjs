// A service that does almost nothing: bare, with request.disconnected, or with the ambient request.
import cancellation from 'fastify-concurrency/cancellation'
import { serve } from '../lib/serve.mjs'

const how = process.argv[2]

await serve(async (app) => {
  if (how !== 'bare') await app.register(cancellation, { ambient: how === 'ambient' })
  // On Node 20 the cost of AsyncLocalStorage grows with the number of promises. This handler awaits a few, as most do.
  app.get('/work', async () => {
    for (let i = 0; i < 10; i++) await undefined
    return { hello: 'world' }
  })
})
