// Payloads that can't be sent, and whose mistake they are.
import t from 'tap'
import { rejection, startApp, startJob } from '../helper.ts'

t.test('a body that is nested too deeply is its client\'s error; a value of the application\'s own is not', async (t) => {
  let own: unknown = []
  for (let level = 0; level < 20_000; level++) own = [own]
  const { app, workers } = await startApp(t, {}, {}, (app, workers) => {
    app.post('/whole', async ({ body }) => workers.run('echo', body as never))
    app.post('/part', async ({ body }) => workers.run('echo', { ...body as object, extra: 1 } as never))
    app.post('/inner', async ({ body }) => workers.run('echo', (body as { a: unknown }).a as never))
    app.post('/own', async () => workers.run('echo', own as never))
  })
  const deep = `{"a":${'['.repeat(20_000)}${']'.repeat(20_000)}}`
  const statusOf = async (url: string, payload = deep): Promise<[number, string]> => {
    const response = await app.inject({ method: 'POST', url, headers: { 'content-type': 'application/json' }, payload })
    return [response.statusCode, response.json<{ code: string }>().code]
  }
  for (const url of ['/whole', '/part', '/inner']) t.strictSame(await statusOf(url), [400, 'FC_ERR_PAYLOAD_NOT_CLONEABLE'], url)
  t.strictSame(await statusOf('/own', '{}'), [500, 'FC_ERR_PAYLOAD_NOT_CLONEABLE'])
  t.match(await rejection(workers.run('echo', own as never)), { statusCode: 500 }, 'outside a request')
})

t.test('a revoked Proxy as a payload, in it, as its transferList or as the options has a code', async (t) => {
  const { workers } = await startApp(t)
  const revoked = (): never => {
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    return proxy as never
  }
  t.match(await rejection(workers.run('echo', revoked())), { code: 'FC_ERR_PAYLOAD_NOT_CLONEABLE' })
  t.match(await rejection(workers.run('echo', { a: [revoked()] } as never)), { code: 'FC_ERR_PAYLOAD_NOT_CLONEABLE', message: /payload\.a\[0\]/ })
  t.match(await rejection(workers.run('echo', 1 as never, { transferList: revoked() })), { code: 'FC_ERR_OPTION_INVALID', message: /run\.transferList.*an array/ })
  t.match(await rejection(workers.run('echo', 1 as never, revoked())), { code: 'FC_ERR_OPTION_INVALID' })
  const { ended } = await startJob(workers, 'rest', { ms: 100 })
  const { proxy: transferList, revoke } = Proxy.revocable([], {})
  const waiting = rejection(workers.run('echo', 1 as never, { transferList }))
  revoke()
  t.match(await waiting, { code: 'FC_ERR_PAYLOAD_NOT_CLONEABLE', message: /transferList/ }, 'revoked while the job waits')
  await ended
  t.equal(await workers.run('echo', 5 as never), 5)
})
