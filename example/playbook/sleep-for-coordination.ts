// Sleep for coordination: a delay is a guess at how long somebody else will take.
import { setTimeout as sleep } from 'node:timers/promises'
import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'

const schema = { body: Type.Object({ passwords: Type.Array(Type.String({ maxLength: 128 }), { maxItems: 16 }) }) }

/**
 * BAD. Right on the author's machine, wrong on a busy one, and slow on both once somebody has made the delay "safe".
 * An error has nowhere to go: it is logged here, and the client gets fewer hashes and a 200.
 */
export const bad: FastifyPluginAsyncTypebox = async (app) => {
  app.post('/hashes', { schema }, async (request) => {
    const hashes: string[] = []
    for (const password of request.body.passwords) {
      app.workers.run('password', { password }, { detached: true }).then((hash) => hashes.push(hash), (error: unknown) => request.log.error(error))
    }
    await sleep(10)
    return { hashes }
  })
}

/**
 * GOOD. Waits for what it needs and not for time: in order, bounded, and the first error cancels the rest.
 * Where there is no promise to hold, as in a test that waits for work in the background: `await app.workers.idle()`.
 */
export const good: FastifyPluginAsyncTypebox = async (app) => {
  app.post('/hashes', { schema }, async (request) =>
    ({ hashes: await app.workers.map('password', request.body.passwords.map((password) => ({ password }))) }))
}
