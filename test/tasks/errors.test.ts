// What errors about a task say to clients.
import t from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import tasks from '../../plugins/tasks/index.ts'

t.test('no error about a task tells a client the task\'s id, which another client may have chosen; the error has it as a field', async (t) => {
  const id = 'mail:jane@example.com'
  const app = Fastify() as unknown as FastifyInstance
  t.teardown(async () => app.close())
  await app.register(tasks)
  const errors: Array<Record<string, unknown>> = []
  app.addHook('onError', async (_request, _reply, error) => { errors.push(error as never) })
  app.get('/late', async () => app.tasks.submit(id, async ({ signal }) => {
    await new Promise((_resolve, reject) => { signal.onabort = () => reject(signal.reason as Error) })
  }, { timeout: 1 }).done)
  app.get('/cancelled', async () => {
    const handle = app.tasks.submit(id, () => {}, { delay: 60_000 })
    handle.cancel()
    return handle.done
  })
  app.get('/threw', async () => app.tasks.submit(id, () => Promise.reject()).done)
  app.get('/duplicate', async () => {
    const first = app.tasks.submit(id, () => {}, { delay: 60_000 })
    first.done.catch(() => {})
    try {
      return await app.tasks.submit(id, () => {}).done
    } finally {
      first.cancel()
    }
  })
  const answers: unknown[] = []
  for (const url of ['/late', '/cancelled', '/threw', '/duplicate']) {
    const response = await app.inject(url)
    t.notMatch(response.payload, /jane/)
    answers.push([response.statusCode, response.json<{ code: string }>().code])
  }
  t.strictSame(answers, [[504, 'FC_ERR_TASK_TIMEOUT'], [499, 'FC_ERR_TASK_ABORTED'], [500, 'FC_ERR_TASK_THREW'], [409, 'FC_ERR_TASK_DUPLICATE']])
  t.strictSame(errors.map((error) => error['id']), [id, id, id, id])
})
