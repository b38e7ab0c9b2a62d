// A shop whose stock is a nested object. Checking and taking are two helper functions, with the price service between them.
import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'
import { Table } from '../table.ts'

export const description = 'An order checks the stock of each of its lines, awaits the prices, and takes the goods. The stock becomes negative.'

interface Line { sku: string, quantity: number }
interface Stock { warehouses: { main: Record<string, number> } }

const prices = new Table({ pen: 2, lamp: 30 })
const newStock = (): Stock => ({ warehouses: { main: { pen: 3, lamp: 1 } } })

const inStock = (stock: Stock, lines: Line[]): boolean => lines.every(({ sku, quantity }) => (stock.warehouses.main[sku] ?? 0) >= quantity)

function take (stock: Stock, lines: Line[]): void {
  const { main } = stock.warehouses
  for (const { sku, quantity } of lines) main[sku] = (main[sku] ?? 0) - quantity
}

async function total (lines: Line[]): Promise<number> {
  const found = await Promise.all(lines.map(async ({ sku, quantity }) => (await prices.find(sku) ?? 0) * quantity))
  return found.reduce((sum, price) => sum + price, 0)
}

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const stock = shared(newStock(), 'stock')
  app.post<{ Body: Line[] }>('/orders', async ({ body: lines }, reply) => {
    if (!inStock(stock, lines)) return reply.code(409).send({ error: 'out of stock' })
    const amount = await total(lines)
    take(stock, lines)
    return { amount }
  })
  app.get('/stock', async () => stock.warehouses.main)
  return app
}

function fixedApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const stock = shared(newStock(), 'stock')
  app.post<{ Body: Line[] }>('/orders', async ({ body: lines }, reply) => {
    const amount = await total(lines)
    if (!inStock(stock, lines)) return reply.code(409).send({ error: 'out of stock' })
    take(stock, lines)
    return { amount }
  })
  app.get('/stock', async () => stock.warehouses.main)
  return app
}

export const { racy, fixed } = pair({
  name: 'unseen/inventory',
  source: 'pattern: check-then-act through helper functions',
  requests: [
    { method: 'POST', url: '/orders', payload: [{ sku: 'pen', quantity: 2 }, { sku: 'lamp', quantity: 1 }] },
    { method: 'POST', url: '/orders', payload: [{ sku: 'pen', quantity: 2 }] }
  ],
  async invariant (app) {
    const main = (await app.inject('/stock')).json<Record<string, number>>()
    assert.ok(main['pen']! >= 0, `${main['pen']} pens are left`)
  }
}, racyApp, fixedApp)
