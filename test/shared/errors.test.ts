import t from 'tap'
import Fastify from 'fastify'
import { TaskDuplicateError, TaskStoreError } from '../../plugins/shared/errors.ts'

t.test('an answer does not hold the id of a task, which may be an address or another client\'s name', async (t) => {
  const id = 'mail:ann@example.com'
  for (const error of [new TaskDuplicateError(id), ...(['away', 'refused', 'unanswered'] as const).map((failure) => new TaskStoreError(id, failure, {}))]) {
    const app = Fastify()
    t.teardown(() => app.close())
    app.get('/', async () => { throw error })
    const { body } = await app.inject('/')
    t.match(JSON.parse(body), { code: error.code, statusCode: error.statusCode })
    t.notMatch(body, id)
    t.equal(error.id, id)
  }
})
