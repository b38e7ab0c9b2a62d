// A service with the suite, without or with the tracing and an SDK, in the main thread and in the worker threads.
import { context, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { BasicTracerProvider, NoopSpanProcessor } from '@opentelemetry/sdk-trace-base'
import concurrency from 'fastify-concurrency'
import { jobs } from '../jobs.mjs'
import { serve } from '../lib/serve.mjs'

const isOn = process.argv[2] === 'on'
if (isOn) {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new NoopSpanProcessor()] }))
}

await serve(async (app) => {
  await app.register(concurrency, { workers: { jobs }, ...(isOn && { tracing: {} }) })
  app.get('/job', async () => ({ result: await app.workers.run('identity', 1) }))
  app.get('/bare', async () => ({ hello: 'world' }))
})
