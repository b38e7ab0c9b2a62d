// A flag that says that an export is running is set after the export was prepared.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance, type FastifyPluginAsync } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'A route refuses a second export while one runs, but the flag is set after an await. Two exports run at once.'

interface Status { running: boolean, exports: number }

const prepare = async (): Promise<void> => { await sleep(1) }
const writeExport = async (): Promise<void> => { await sleep(1) }

const lateFlag = (status: Status): FastifyPluginAsync => async (app) => {
  app.post('/export', async (_request, reply) => {
    if (status.running) return reply.code(409).send({ error: 'an export is running' })
    await prepare()
    status.running = true
    status.exports++
    await writeExport()
    return { done: true }
  })
}

const earlyFlag = (status: Status): FastifyPluginAsync => async (app) => {
  app.post('/export', async (_request, reply) => {
    if (status.running) return reply.code(409).send({ error: 'an export is running' })
    status.running = true
    await prepare()
    status.exports++
    await writeExport()
    return { done: true }
  })
}

const build = (plugin: typeof lateFlag) => async ({ shared }: Tools): Promise<FastifyInstance> => {
  const app = Fastify()
  const status = shared({ running: false, exports: 0 }, 'status')
  await app.register(plugin(status), { prefix: '/admin' })
  return app
}

export const { racy, fixed } = pair({
  name: 'bugs/flag',
  source: 'playbook: flag',
  requests: [{ method: 'POST', url: '/admin/export' }, { method: 'POST', url: '/admin/export' }],
  invariant (_app, responses) {
    assert.deepEqual(responses.map(({ statusCode }) => statusCode).sort(), [200, 409], 'an export runs until the process ends')
  }
}, build(lateFlag), build(earlyFlag))
