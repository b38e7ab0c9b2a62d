// The suite in one register call: what its options mean for the parts.
import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import concurrency, { type ConcurrencyOptions } from '../plugins/index.ts'
import { currentRequest } from '../plugins/cancellation/index.ts'
import { execArgv } from './helper.ts'
import { jobs } from './fixtures/jobs.ts'

function create (t: Test): FastifyInstance {
  const app = Fastify() as unknown as FastifyInstance
  t.teardown(() => app.close())
  return app
}

const policies = { service: { rate: 1_000, burst: 1_000 } }
const workers = { jobs, maxThreads: 1, execArgv }

/** One part alone, with an `ambient` of its own. */
const parts: Record<string, (ambient: boolean | undefined) => ConcurrencyOptions> = {
  limiter: (ambient) => ({ limiter: { policies, ambient } as never, tasks: false, lifecycle: false }),
  workers: (ambient) => ({ workers: { ...workers, ambient } as never, tasks: false, lifecycle: false }),
  tasks: (ambient) => ({ tasks: { ambient } as never, lifecycle: false })
}

for (const [part, options] of Object.entries(parts)) {
  t.test(`ambient of the suite holds for ${part} unless ${part} says otherwise; undefined says nothing`, async (t) => {
    const isAmbient = async (suite: boolean | undefined, own: boolean | undefined): Promise<boolean> => {
      const app = create(t)
      await app.register(concurrency, { ...options(own), ambient: suite } as never)
      app.get('/', async () => ({ ambient: currentRequest() !== undefined }))
      return (await app.inject('/')).json<{ ambient: boolean }>().ambient
    }
    t.equal(await isAmbient(false, undefined), false)
    t.equal(await isAmbient(false, false), false)
    t.equal(await isAmbient(false, true), true)
    t.equal(await isAmbient(true, false), false)
    t.equal(await isAmbient(undefined, undefined), true)
  })
}

t.test('a part whose options are undefined is as if it was not named; options that are no object are refused by name', async (t) => {
  const app = create(t)
  await app.register(concurrency, { lifecycle: undefined, limiter: undefined, workers: undefined, tasks: undefined } as never)
  t.strictSame(['lifecycle', 'limiter', 'workers', 'tasks'].map((part) => app.hasDecorator(part)), [true, false, false, true])
  for (const part of ['lifecycle', 'limiter', 'workers', 'tasks']) {
    for (const options of [true, 5, 'yes', []]) {
      const refused = create(t)
      await t.rejects(async () => refused.register(concurrency, { [part]: options }), {
        code: 'FC_ERR_OPTION_INVALID', message: new RegExp(`^Option "concurrency\\.${part}": expected an object`)
      })
    }
  }
})
