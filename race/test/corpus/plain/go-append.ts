// The racy program of bugs/go-append.ts, as an application that knows no detector: a variable of the module holds an array.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'

interface Item { id: number, label: string }

let items: Item[] = []

const enrich = async (id: number): Promise<Item> => sleep(1, { id, label: `item ${id}` })

export async function build (): Promise<FastifyInstance> {
  const app = Fastify()
  app.post<{ Body: { id: number } }>('/items', async ({ body }, reply) => {
    items = [...items, await enrich(body.id)]
    return reply.code(201).send()
  })
  app.get('/items', async () => items)
  return app
}
