import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'
import { Table } from '../table.ts'

export const description = 'A home-made lock looks again after each wait, and takes the key in the step in which it finds the key free.'

class KeyedLock {
  readonly holders: Map<string, Promise<void>>

  constructor (holders: Map<string, Promise<void>>) {
    this.holders = holders
  }

  async run<T> (key: string, fn: () => Promise<T>): Promise<T> {
    while (this.holders.has(key)) await this.holders.get(key)
    let release!: () => void
    this.holders.set(key, new Promise((resolve) => { release = resolve }))
    try {
      return await fn()
    } finally {
      this.holders.delete(key)
      release()
    }
  }
}

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const lock = new KeyedLock(shared(new Map<string, Promise<void>>(), 'holders'))
  const boards = new Table<string[]>({ b1: [] })
  app.post<{ Params: { board: string, card: string } }>('/boards/:board/:card', async ({ params: { board, card } }) => lock.run(board, async () => {
    const cards = await boards.find(board) ?? []
    return boards.save(board, [...cards, card])
  }))
  app.get('/b1', async () => boards.find('b1'))
  return app
}

export const program: Program = {
  name: 'clean/keyed-lock-right',
  source: 'pattern: keyed lock that looks again',
  build,
  requests: ['x', 'y', 'z'].map((card) => ({ method: 'POST', url: `/boards/b1/${card}` })),
  async invariant (app) {
    assert.deepEqual((await app.inject('/b1')).json<string[]>().sort(), ['x', 'y', 'z'])
  }
}
