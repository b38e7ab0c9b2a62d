// A user name must be unique. The password is hashed between the check and the registration.
import assert from 'node:assert/strict'
import { scrypt } from 'node:crypto'
import { promisify } from 'node:util'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'A registration checks that a name is free, awaits the hash of the password, and adds the user. Two users have the same name.'

interface User { name: string, hash: string }
interface Registration { name: string, password: string }

const hash = promisify(scrypt) as (password: string, salt: string, length: number, options: { N: number }) => Promise<Buffer>
const hashOf = async (password: string): Promise<string> => (await hash(password, 'salt', 16, { N: 4096 })).toString('hex')

const taken = (users: User[], name: string): boolean => users.some((user) => user.name.toLowerCase() === name.toLowerCase())

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const users: User[] = shared([], 'users')
  app.decorate('users', users)
  app.post<{ Body: Registration }>('/users', async ({ body: { name, password } }, reply) => {
    if (taken(users, name)) return reply.code(409).send({ error: 'the name is taken' })
    users.push({ name, hash: await hashOf(password) })
    return reply.code(201).send({ name })
  })
  app.get('/users', async () => users.map(({ name }) => name))
  return app
}

function fixedApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const users: User[] = shared([], 'users')
  app.decorate('users', users)
  app.post<{ Body: Registration }>('/users', async ({ body: { name, password } }, reply) => {
    const hashed = await hashOf(password)
    if (taken(users, name)) return reply.code(409).send({ error: 'the name is taken' })
    users.push({ name, hash: hashed })
    return reply.code(201).send({ name })
  })
  app.get('/users', async () => users.map(({ name }) => name))
  return app
}

export const { racy, fixed } = pair({
  name: 'unseen/username',
  source: 'pattern: unique name',
  requests: ['ann', 'Ann', 'ben'].map((name) => ({ method: 'POST', url: '/users', payload: { name, password: `${name}!` } })),
  async invariant (app) {
    const names = (await app.inject('/users')).json<string[]>().map((name) => name.toLowerCase())
    assert.deepEqual(names.sort(), ['ann', 'ben'])
  }
}, racyApp, fixedApp)
