// A coupon may be redeemed once. One function validates it, another one marks it, and the discount is booked between them.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'A coupon is validated, the discount is booked, and the coupon is marked as redeemed. Two orders use it.'

interface Coupon { code: string, percent: number, redeemedBy: string | null }

class Coupons {
  readonly byCode: Map<string, Coupon>

  constructor (byCode: Map<string, Coupon>) {
    this.byCode = byCode
  }

  validate (code: string): Coupon {
    const coupon = this.byCode.get(code)
    if (!coupon) throw Object.assign(new Error('unknown coupon'), { statusCode: 404 })
    if (coupon.redeemedBy !== null) throw Object.assign(new Error('coupon already redeemed'), { statusCode: 409 })
    return coupon
  }

  markRedeemed (coupon: Coupon, order: string): void {
    coupon.redeemedBy = order
  }
}

const bookDiscount = async (order: string, { percent }: Coupon): Promise<string> => sleep(1, `${order}: -${percent} %`)

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const coupons = new Coupons(shared(new Map([['XMAS', { code: 'XMAS', percent: 10, redeemedBy: null }]]), 'coupons'))
  app.post<{ Params: { order: string, code: string } }>('/orders/:order/coupon/:code', async ({ params }) => {
    const coupon = coupons.validate(params.code)
    const booking = await bookDiscount(params.order, coupon)
    coupons.markRedeemed(coupon, params.order)
    return { booking }
  })
  return app
}

function fixedApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const coupons = new Coupons(shared(new Map([['XMAS', { code: 'XMAS', percent: 10, redeemedBy: null }]]), 'coupons'))
  app.post<{ Params: { order: string, code: string } }>('/orders/:order/coupon/:code', async ({ params }) => {
    const coupon = coupons.validate(params.code)
    coupons.markRedeemed(coupon, params.order)
    const booking = await bookDiscount(params.order, coupon)
    return { booking }
  })
  return app
}

export const { racy, fixed } = pair({
  name: 'unseen/coupon',
  source: 'pattern: check in one function, act in another',
  requests: ['o1', 'o2'].map((order) => ({ method: 'POST', url: `/orders/${order}/coupon/XMAS` })),
  invariant (_app, responses) {
    assert.deepEqual(responses.map(({ statusCode }) => statusCode).sort(), [200, 409])
  }
}, racyApp, fixedApp)
