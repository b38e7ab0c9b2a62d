// When a guest logs in, the cart of the guest is merged into the cart of the user.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'A login copies the cart of the user, awaits the password check and stores the copy merged with the cart of the guest. What was added in between is lost.'

type Cart = Record<string, number>

const passwordMatches = async (): Promise<boolean> => sleep(1, true)

function addRoutes (app: FastifyInstance, carts: Map<string, Cart>): void {
  app.post<{ Params: { user: string, sku: string } }>('/carts/:user/:sku', async ({ params: { user, sku } }) => {
    await sleep(1) // looks the article up
    const cart = carts.get(user) ?? {}
    carts.set(user, { ...cart, [sku]: (cart[sku] ?? 0) + 1 })
    return 'added'
  })
  app.get<{ Params: { user: string } }>('/carts/:user', async ({ params }) => carts.get(params.user))
}

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const carts = shared(new Map<string, Cart>([['guest', { pen: 1 }], ['ann', { book: 1 }]]), 'carts')
  app.post<{ Params: { user: string } }>('/login/:user', async ({ params: { user } }, reply) => {
    const merged: Cart = { ...carts.get(user), ...carts.get('guest') }
    if (!await passwordMatches()) return reply.code(401).send()
    carts.set(user, merged)
    carts.delete('guest')
    return merged
  })
  addRoutes(app, carts)
  return app
}

function fixedApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const carts = shared(new Map<string, Cart>([['guest', { pen: 1 }], ['ann', { book: 1 }]]), 'carts')
  app.post<{ Params: { user: string } }>('/login/:user', async ({ params: { user } }, reply) => {
    if (!await passwordMatches()) return reply.code(401).send()
    const merged: Cart = { ...carts.get(user), ...carts.get('guest') }
    carts.set(user, merged)
    carts.delete('guest')
    return merged
  })
  addRoutes(app, carts)
  return app
}

export const { racy, fixed } = pair({
  name: 'unseen/cart-merge',
  source: 'pattern: merge of sessions',
  requests: [{ method: 'POST', url: '/login/ann' }, { method: 'POST', url: '/carts/ann/lamp' }],
  async invariant (app) {
    assert.deepEqual((await app.inject('/carts/ann')).json(), { book: 1, pen: 1, lamp: 1 })
  }
}, racyApp, fixedApp)
