// A function of a group may throw what nothing can be asked of: a Proxy that was revoked. It ends neither the process nor the wait.
import t from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import tasks from '../../../plugins/tasks/index.ts'
import { logLines, rejection, until } from '../../helper.ts'

function revoked (): Error {
  const { proxy, revoke } = Proxy.revocable(new Error('gone'), {})
  revoke()
  return proxy
}

t.test('a revoked Proxy that a function throws is an error of ours, by each way out of a group', async (t) => {
  const { lines, logger } = logLines()
  const app = Fastify({ logger }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(tasks)
  const threw = { code: 'FC_ERR_TASK_THREW', message: /can't be read/ }
  const fail = async (): Promise<never> => { throw revoked() }
  const group = app.tasks.group()
  await group.go(fail)
  await group.go(fail)
  t.match(await rejection(group.wait()), threw)
  t.match(await rejection(app.tasks.group().map([1, 2], fail)), threw)
  t.match(await rejection(app.tasks.group().race([fail])), threw)
  const items = { [Symbol.iterator]: () => ({ next () { throw revoked() } }) }
  t.match(await rejection(app.tasks.group().map(items as never, () => {})), threw)
  app.get('/', async () => {
    const group = app.tasks.group()
    await group.go(fail)
    return await group.wait()
  })
  t.equal((await app.inject('/')).statusCode, 500)
  // Nobody awaits these.
  const before = lines.length
  void app.tasks.group().go(fail)
  void app.tasks.group().map([1], fail)
  void app.tasks.group().race([fail])
  await until(() => lines.length > before, 'it is logged')
})

t.test('a revoked Proxy as the reason of a signal that a group follows ends nothing', async (t) => {
  const app = Fastify() as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(tasks)
  const controller = new AbortController()
  const group = app.tasks.group({ signal: controller.signal })
  const stopped = new Promise<void>((resolve) => {
    void group.go(async ({ signal }) => new Promise<void>((_resolve, reject) => signal.addEventListener('abort', () => {
      resolve()
      reject(signal.reason as Error)
    })))
  })
  controller.abort(revoked())
  await stopped
  await group.wait().then(() => {}, () => {})
  t.pass('the process goes on')
})
