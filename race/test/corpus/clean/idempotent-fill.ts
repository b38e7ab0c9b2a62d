import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'
import { Table } from '../table.ts'

export const description = 'A cache is filled with names of countries, which never change. Two requests that miss store the same string.'

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const countries = new Table({ de: 'Germany', fr: 'France' })
  const names = shared(new Map<string, string>(), 'names')
  app.get<{ Params: { code: string } }>('/countries/:code', async ({ params: { code } }) => {
    if (!names.has(code)) {
      const name = await countries.find(code)
      names.set(code, name ?? 'unknown')
    }
    return { name: names.get(code) }
  })
  return app
}

export const program: Program = {
  name: 'clean/idempotent-fill',
  source: 'race.md: an idempotent fill',
  build,
  requests: ['de', 'fr', 'de'].map((code) => ({ url: `/countries/${code}` })),
  invariant (_app, responses) {
    assert.deepEqual(responses.map((response) => response.json<{ name: string }>().name), ['Germany', 'France', 'Germany'])
  }
}
