import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'
import { Table } from '../table.ts'

export const description = 'The database numbers its versions. A request stores its row in the cache only if no newer version is there.'

interface Row { version: number, stock: number }

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const database = new Table<Row>({ pen: { version: 1, stock: 10 } })
  const cache = shared(new Map<string, Row>(), 'cache')

  function remember (sku: string, row: Row): void {
    const known = cache.get(sku)
    if (known === undefined || known.version < row.version) cache.set(sku, row)
  }

  app.post<{ Params: { sku: string } }>('/sell/:sku', async ({ params: { sku } }) => {
    const row = await database.update(sku, (before) => ({ version: before!.version + 1, stock: before!.stock - 1 }))
    remember(sku, row)
    return row
  })
  app.get<{ Params: { sku: string } }>('/stock/:sku', async ({ params: { sku } }) => cache.get(sku) ?? database.find(sku))
  return app
}

export const program: Program = {
  name: 'clean/newer-version-wins',
  source: 'pattern: version compared in the step that writes',
  build,
  requests: Array.from({ length: 3 }, () => ({ method: 'POST', url: '/sell/pen' })),
  async invariant (app) {
    assert.deepEqual((await app.inject('/stock/pen')).json(), { version: 4, stock: 7 })
  }
}
