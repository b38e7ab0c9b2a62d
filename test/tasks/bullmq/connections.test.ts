// The connections of the engine, apart from the engine.
import t, { type Test } from 'tap'
import type { FastifyBaseLogger } from 'fastify'
import { Cluster, Redis } from 'ioredis'
import { Connections } from '../../../plugins/tasks/bullmq/connections.ts'
import type { IoRedis } from '../../../plugins/redis.ts'
import { until } from '../../helper.ts'
import { freePort, noRedis, startRedis } from '../../limiter/redis.ts'

const skip = await noRedis()

interface Opened {
  connections: Connections
  /** The lines at error, with their errors. */
  errors: Array<{ err?: Error }>
}

function open (t: Test, given: Redis | Cluster): Opened {
  given.on('error', () => {})
  const errors: Opened['errors'] = []
  const log = { debug () {}, info () {}, error: (fields: { err?: Error }) => { errors.push(fields) } } as unknown as FastifyBaseLogger
  const connections = new Connections(given as unknown as IoRedis, log)
  t.teardown(() => {
    connections.close()
    given.disconnect()
  })
  return { connections, errors }
}

t.test('a client that connects lazily: the connections for tasks are opened at once', async (t) => {
  const port = await freePort()
  for (const given of [new Redis({ port, lazyConnect: true }), new Cluster([{ port }], { lazyConnect: true })]) {
    const { connections } = open(t, given)
    t.not(connections.commands.status, 'wait')
    t.not(connections.patient.status, 'wait')
    t.equal(given.status, 'wait')
  }
})

t.test('a connection that has ended without an error is not explained by the error of an earlier outage', { skip }, async (t) => {
  const server = await startRedis(t)
  await server.kill()
  const { connections, errors } = open(t, new Redis(server.path))
  t.equal(await connections.first(), false)
  t.match(errors, [{ err: { code: /ENOENT|ECONNREFUSED/ } }])
  await server.start()
  await until(() => connections.trouble === undefined, 'it is connected')
  await server.client().call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
  await until(() => errors.length === 2, 'the end of the connection is logged')
  t.equal(errors[1]?.err, undefined)
})

t.test('once closed, a connection stays closed, whoever opens it', { skip }, async (t) => {
  const server = await startRedis(t)
  const { connections } = open(t, new Redis(server.path))
  const { patient } = connections
  const blocking = patient.duplicate()
  connections.close()
  for (const client of [patient, blocking]) {
    await until(() => client.status === 'end', 'it has ended')
    await t.rejects(client.connect(), { message: 'Connection is closed.' })
    t.equal(client.status, 'end')
  }
})
