// A race that `.ci/run` runs together with the project's own tests under RACE=1: its report proves that the run would have shown one of ours.
import { setImmediate as turn } from 'node:timers/promises'
import Fastify from 'fastify'
import t from 'tap'

t.test('a test that passes, in a process that saw a race', async (t) => {
  let planted = 0
  const app = Fastify()
  app.get('/', async () => {
    const before = planted
    await turn()
    planted = before + 1
    return 'ok'
  })
  const responses = await Promise.all([app.inject('/'), app.inject('/')])
  t.strictSame(responses.map(({ statusCode }) => statusCode), [200, 200])
  await app.close()
})
