// A connector that keeps models in memory: updateOrCreate() looks for a model, runs the hooks of the user, and creates one.
import assert from 'node:assert/strict'
import { promisify } from 'node:util'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'updateOrCreate() finds no model, awaits a hook, and creates one. Two requests for the same email create two.'

interface Model { id: number, email: string, logins: number }

const runHook = promisify((_name: string, done: (error: Error | null) => void): void => { setTimeout(done, 1, null) })

async function upsertLate (models: Model[], email: string): Promise<Model> {
  const existing = models.find((model) => model.email === email)
  await runHook('before save')
  if (existing) {
    existing.logins++
    return existing
  }
  const model = { id: models.length + 1, email, logins: 1 }
  models.push(model)
  return model
}

async function upsertAtOnce (models: Model[], email: string): Promise<Model> {
  await runHook('before save')
  const existing = models.find((model) => model.email === email)
  if (existing) {
    existing.logins++
    return existing
  }
  const model = { id: models.length + 1, email, logins: 1 }
  models.push(model)
  return model
}

const build = (upsert: typeof upsertLate) => ({ shared }: Tools): FastifyInstance => {
  const app = Fastify()
  const models: Model[] = shared([], 'models')
  app.put<{ Params: { email: string } }>('/users/:email', async ({ params }) => {
    const { id } = await upsert(models, params.email)
    return { id }
  })
  app.get('/users', async () => models)
  return app
}

export const { racy, fixed } = pair({
  name: 'bugs/upsert',
  source: 'strongloop/loopback-datasource-juggler#814',
  requests: ['a@x.org', 'b@x.org', 'a@x.org'].map((email) => ({ method: 'PUT', url: `/users/${email}` })),
  async invariant (app) {
    const models = (await app.inject('/users')).json<Model[]>()
    assert.deepEqual(models.map(({ email }) => email).sort(), ['a@x.org', 'b@x.org'])
  }
}, build(upsertLate), build(upsertAtOnce))
