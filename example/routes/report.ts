import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'

const City = Type.Object({ name: Type.String(), country: Type.String(), population: Type.Integer(), distance: Type.Integer() })

const report: FastifyPluginAsyncTypebox = async (app) => {
  /** Several searches at once, e.g. `/report?q=tokoy&q=pariss`. One that fails cancels the others; a client that leaves, all. */
  app.get('/report', {
    schema: {
      querystring: Type.Object({ q: Type.Array(Type.String({ minLength: 1, maxLength: 64, pattern: '\\S' }), { minItems: 1, maxItems: 8 }) }),
      response: { 200: Type.Array(Type.Object({ q: Type.String(), best: Type.Union([City, Type.Null()]) })) }
    }
  }, async ({ query }) => app.tasks.group().map(query.q, async (q, { signal }) => {
    const { matches } = await app.workers.run('search', { q, anyOrder: false }, { signal })
    return { q, best: matches[0] ?? null }
  }))
}

export default report
