// The race detector: shared state keeps its type.
import Fastify from 'fastify'
import race, { explore, hammer, shared, type RaceReport } from 'fastify-concurrency-race'
import { holds, type Equal } from '../../test/types/equal.ts'

const app = Fastify()
await app.register(race, { fail: true })
const map = shared(new Map<string, { n: number }>(), 'map', { lww: true })
holds<Equal<typeof map, Map<string, { n: number }>>>()
const responses = await hammer(app, (index) => `/${index}`, { times: 5, concurrency: 2 })
holds<Equal<typeof responses[number]['statusCode'], number>>()
holds<Equal<RaceReport['isConfirmed'], boolean>>()

const explored = await explore(() => Fastify(), { requests: ['/', { url: '/', method: 'POST' }], invariant: (app, [first]) => [app.server, first?.statusCode] })
holds<Equal<typeof explored.orders, number>>()
void [map, responses, explored]
// @ts-expect-error: no requests
void explore(() => Fastify(), {})

// @ts-expect-error: no object
shared(5, 'five')
// @ts-expect-error: misspelt
await app.register(race, { fial: true })
// @ts-expect-error: misspelt
void hammer(app, '/', { tmes: 1 })
