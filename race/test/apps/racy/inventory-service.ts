import Fastify, { type FastifyInstance } from 'fastify'

interface Item { sku: string, left: number }

class Inventory {
  private readonly items: Record<string, Item> = { pen: { sku: 'pen', left: 1 } }

  async find (sku: string): Promise<Item | undefined> {
    await new Promise((resolve) => setImmediate(resolve))
    return this.items[sku]
  }

  async take (sku: string): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    this.items[sku]!.left--
  }
}

export const requests = [{ method: 'POST' as const, url: '/orders', payload: { sku: 'pen' } }, { method: 'POST' as const, url: '/orders', payload: { sku: 'pen' } }]

export function build (): FastifyInstance {
  const app = Fastify()
  const inventory = new Inventory()
  app.post<{ Body: { sku: string } }>('/orders', async (request, reply) => {
    const item = await inventory.find(request.body.sku)
    if (item === undefined || item.left === 0) return reply.code(409).send()
    await inventory.take(request.body.sku)
    return { sold: item.sku }
  })
  return app
}
