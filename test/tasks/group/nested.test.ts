import t from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import { once } from 'node:events'
import tasks from '../../../plugins/tasks/index.ts'
import { deferred, rejection } from '../../helper.ts'

for (const how of ['go', 'map', 'race'] as const) {
  t.test(`a group inside a function of ${how}() is aborted with it; a detached one, and one of a task that it submits, go on`, async (t) => {
    const app = Fastify() as unknown as FastifyInstance
    t.teardown(async () => app.close())
    await app.register(tasks)
    await app.ready()
    const signals = deferred<AbortSignal[]>()
    const outer = app.tasks.group({ limit: 3 })
    const inner = async (): Promise<void> => {
      const ofTask = deferred<AbortSignal>()
      app.tasks.submit('task', async () => { ofTask.resolve(app.tasks.group().signal) })
      const [nested, detached] = [app.tasks.group().signal, app.tasks.group({ detached: true }).signal]
      signals.resolve([nested, detached, await ofTask.promise])
      await once(nested, 'abort')
    }
    const fail = async (): Promise<void> => {
      await signals.promise
      throw new Error('failed')
    }
    const run = {
      go: async () => {
        void outer.go(inner)
        void outer.go(fail)
        await outer.wait()
      },
      map: async () => outer.map([inner, fail], async (fn) => fn()),
      race: async () => outer.race([inner, fail])
    }
    t.match(await rejection(run[how]()), { message: 'failed' })
    t.same((await signals.promise).map(({ aborted }) => aborted), [true, false, false])
  })
}
