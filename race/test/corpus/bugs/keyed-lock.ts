// A home-made keyed lock: it awaits the promise of the holder, and then enters its own promise.
import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'
import { Table } from '../table.ts'

export const description = 'A keyed lock awaits the holder and then becomes the holder. Two waiters wake up together, and both become the holder.'

type WithLock = <T>(key: string, fn: () => Promise<T>) => Promise<T>

function serve (withLock: WithLock): FastifyInstance {
  const app = Fastify()
  const workspaces = new Table<number>({ w1: 0 })
  app.post<{ Params: { id: string } }>('/workspaces/:id/runs', async ({ params: { id } }) => withLock(id, async () => {
    const runs = await workspaces.find(id) ?? 0
    return { runs: await workspaces.save(id, runs + 1) }
  }))
  return app
}

function racyApp ({ shared }: Tools): FastifyInstance {
  const locks = shared(new Map<string, Promise<unknown>>(), 'locks')
  return serve(async (key, fn) => {
    const holder = locks.get(key)
    if (holder) await holder
    const work = fn()
    locks.set(key, work)
    try {
      return await work
    } finally {
      if (locks.get(key) === work) locks.delete(key)
    }
  })
}

function fixedApp ({ shared }: Tools): FastifyInstance {
  const locks = shared(new Map<string, Promise<unknown>>(), 'locks')
  return serve(async (key, fn) => {
    const work = (locks.get(key) ?? Promise.resolve()).then(fn)
    const tail = work.catch(() => {})
    locks.set(key, tail)
    try {
      return await work
    } finally {
      if (locks.get(key) === tail) locks.delete(key)
    }
  })
}

export const { racy, fixed } = pair({
  name: 'bugs/keyed-lock',
  source: 'coder/xum#1385',
  requests: Array.from({ length: 4 }, () => ({ method: 'POST', url: '/workspaces/w1/runs' })),
  invariant (_app, responses) {
    assert.deepEqual(responses.map((response) => response.json<{ runs: number }>().runs).sort(), [1, 2, 3, 4])
  }
}, racyApp, fixedApp)
