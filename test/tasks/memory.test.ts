// The memory of refused tasks. A file of its own: under RACE=1 it would measure the detector, so .ci/race leaves it out.
import t from 'tap'
import Fastify from 'fastify'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import tasks from '../../plugins/tasks/index.ts'
import { deferred, until } from '../helper.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

t.test('100,000 submits at a full queue: all refused, flat memory', async (t) => {
  const app = Fastify({ logger: false })
  t.teardown(() => app.close())
  await app.register(tasks, { concurrency: 1, maxQueue: 10 })
  const go = deferred()
  for (let i = 0; i < 11; i++) app.tasks.submit(`t${i}`, () => go.promise)
  await until(() => app.tasks.stats().running === 1, 'one runs')
  let refused = 0
  const submit = (i: number): void => {
    try {
      app.tasks.submit(`more:${i}`, () => go.promise)
    } catch {
      refused++
    }
  }
  for (let i = 0; i < 1_000; i++) submit(i)
  collect()
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < 100_000; i++) submit(i)
  collect()
  const grown = process.memoryUsage().heapUsed - before
  t.equal(refused, 101_000)
  t.match(app.tasks.stats(), { running: 1, waiting: 10 })
  t.ok(grown < 2 ** 20, `${Math.round(grown / 1024)} KiB`)
  go.resolve()
})
