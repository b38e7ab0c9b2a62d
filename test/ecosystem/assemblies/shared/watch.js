import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc')

/**
 * On SIGWINCH, which nobody takes for an end, logs `idle`, once nothing of the suite runs or waits, with the number of requests and replies that something still keeps.
 */
export function watch (app) {
  const refs = new Set()
  app.addHook('onRequest', (request, reply, done) => {
    refs.add(new WeakRef(request)).add(new WeakRef(reply))
    done()
  })
  process.on('SIGWINCH', async () => {
    // It takes the listeners of signals that were there before it for others'.
    const { assertIdle } = await import('fastify-concurrency/testing')
    try {
      await assertIdle(app, { within: 3_000 })
      for (let i = 0; i < 5; i++) {
        await turn()
        gc()
      }
      app.log.info({ kept: [...refs].filter((ref) => ref.deref() !== undefined).length }, 'idle')
    } catch (err) {
      app.log.error(err, 'not idle')
    }
  })
}
