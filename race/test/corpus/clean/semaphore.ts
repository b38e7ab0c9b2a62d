import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'A semaphore hands its permit to the first waiter directly, so that no newcomer can take the permit in between.'

type Waiter = () => void

class Semaphore {
  readonly state: { free: number, waiters: Waiter[] }

  constructor (state: { free: number, waiters: Waiter[] }) {
    this.state = state
  }

  async acquire (): Promise<void> {
    if (this.state.free > 0) {
      this.state.free--
      return
    }
    await new Promise<void>((resolve) => this.state.waiters.push(resolve))
  }

  release (): void {
    const next = this.state.waiters.shift()
    if (next) next()
    else this.state.free++
  }
}

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const semaphore = new Semaphore(shared({ free: 2, waiters: [] as Waiter[] }, 'semaphore'))
  const use = shared({ now: 0, most: 0 }, 'use')
  app.get('/render', async () => {
    await semaphore.acquire()
    try {
      use.now++
      use.most = Math.max(use.most, use.now)
      await sleep(1)
      use.now--
      return 'done'
    } finally {
      semaphore.release()
    }
  })
  app.get('/use', async () => ({ ...use, free: semaphore.state.free }))
  return app
}

export const program: Program = {
  name: 'clean/semaphore',
  source: 'pattern: semaphore',
  build,
  requests: Array.from({ length: 4 }, () => ({ url: '/render' })),
  async invariant (app) {
    const { now, most, free } = (await app.inject('/use')).json<{ now: number, most: number, free: number }>()
    assert.ok(now === 0 && most <= 2 && free === 2)
  }
}
