import createError from '@fastify/error'
import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { MAX_WORDS, wordsOf } from '../cities/words.ts'
import { sendProgress, wantsProgress } from './progress.ts'

const TooManyWordsError = createError('TOO_MANY_WORDS', 'At most %d words can be tried in any order', 400)

const schema = {
  querystring: Type.Object({
    q: Type.String({ minLength: 1, maxLength: 64, pattern: '\\S' }),
    anyOrder: Type.Boolean({ default: false, description: 'Try the words of q in every order: up to 120 times the work' })
  }),
  response: {
    200: Type.Object({
      matches: Type.Array(Type.Object({
        name: Type.String(),
        country: Type.String(),
        population: Type.Integer(),
        distance: Type.Integer()
      })),
      compared: Type.Integer()
    })
  }
}

const search: FastifyPluginAsyncTypebox = async (app) => {
  app.get('/search', { schema, config: { limiter: { policies: ['plan'] } } }, async (request, reply) => {
    const { q, anyOrder } = request.query
    if (anyOrder && wordsOf(q).length > MAX_WORDS) throw new TooManyWordsError(MAX_WORDS)
    reply.header('vary', 'accept')
    // Nothing here names the client: the pool knows the request, and cancels the search when it is gone.
    if (wantsProgress(request)) return sendProgress(reply, (onProgress) => app.workers.run('search', { q, anyOrder }, { onProgress }))
    return app.workers.run('search', { q, anyOrder })
  })
}

export default search
