// Runs the CPU-bound work in the handler, on the event loop.
import { iterationsOf, serve } from '../lib/serve.mjs'
import spin from '../jobs/spin.mjs'

await serve((app) => {
  app.get('/work', async (request) => ({ result: spin(iterationsOf(request)) }))
})
