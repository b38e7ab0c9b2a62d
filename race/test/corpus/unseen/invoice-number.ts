// Invoices are numbered without gaps. The next number is taken from memory, the invoice is stored, and memory advances.
import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'
import { Table } from '../table.ts'

export const description = 'An invoice takes the next number, is stored, and then the sequence advances. Two invoices have the same number.'

interface Sequence { year: number, next: number }

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const archive = new Table<string>()
  const sequence: Sequence = shared({ year: 2026, next: 1 }, 'sequence')
  app.post<{ Body: { customer: string } }>('/invoices', async ({ body }) => {
    const { year, next } = sequence
    const id = `${year}-${String(next).padStart(4, '0')}`
    await archive.save(id, body.customer)
    sequence.next = next + 1
    return { id }
  })
  return app
}

function fixedApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const archive = new Table<string>()
  const sequence: Sequence = shared({ year: 2026, next: 1 }, 'sequence')
  app.post<{ Body: { customer: string } }>('/invoices', async ({ body }) => {
    const id = `${sequence.year}-${String(sequence.next++).padStart(4, '0')}`
    await archive.save(id, body.customer)
    return { id }
  })
  return app
}

export const { racy, fixed } = pair({
  name: 'unseen/invoice-number',
  source: 'pattern: sequence number',
  requests: ['ann', 'ben', 'cat'].map((customer) => ({ method: 'POST', url: '/invoices', payload: { customer } })),
  invariant (_app, responses) {
    assert.equal(new Set(responses.map((response) => response.json<{ id: string }>().id)).size, 3)
  }
}, racyApp, fixedApp)
