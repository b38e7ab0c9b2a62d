// Unbounded spawning: a thread, process or connection a request is as many as there are clients.
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'

const schema = { body: Type.Object({ password: Type.String({ maxLength: 128 }) }) }

const script = `
  const { parentPort, workerData } = require('node:worker_threads')
  const { scryptSync } = require('node:crypto')
  parentPort.postMessage(scryptSync(workerData, 'salt', 32).toString('base64'))
`

/**
 * BAD. A thread costs 10 MB and 30 ms before it does anything. A hundred clients at once are a gigabyte and a hundred
 * threads on two CPUs, each a fiftieth as fast, so that all of them finish late and none early. Nothing refuses.
 */
export const bad: FastifyPluginAsyncTypebox = async (app) => {
  app.post('/hash', { schema }, async (request) => {
    const worker = new Worker(script, { eval: true, workerData: request.body.password, execArgv: [] })
    const [hash] = await once(worker, 'message') as [string]
    return { hash }
  })
}

/** GOOD. As many threads as CPUs, started once; what they can't serve in time is refused at once with a 503. */
export const good: FastifyPluginAsyncTypebox = async (app) => {
  app.post('/hash', { schema }, async (request) => ({ hash: await app.workers.run('password', request.body) }))
}
