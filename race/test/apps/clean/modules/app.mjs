// Re-exports, default exports, live bindings and a cycle; counts are changed in one expression after the last await.
import Fastify from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'
import { Counter, hit, hits, size, internal } from './index.mjs'
import * as all from './index.mjs'

const counter = new Counter()

export const requests = ['/', '/', '/']

export function build () {
  const app = Fastify()
  app.get('/', async (_request, reply) => {
    const before = hits
    await wait(1)
    const mine = hit()
    internal.at = Date.now()
    const text = counter.add()
    if (mine !== hits || hits < before || all.hits !== hits || size() !== 5 || Counter.name !== 'default') return reply.code(500).send({ mine, hits, size: size(), name: Counter.name })
    const { flags } = await import('./late.mjs')
    flags.seen ??= 0
    flags.seen += 1
    return { text, seen: flags.seen }
  })
  return app
}
