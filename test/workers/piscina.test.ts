// Pins what plugins/workers/piscina.ts leans on. If one of these fails after an update, read that file before the test.
import t, { type Test } from 'tap'
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import { Piscina } from 'piscina'
import { rejection, until } from '../helper.ts'

const filename = new URL('../fixtures/pinned-host.mjs', import.meta.url).href

interface PinnedHost { port: MessagePort, ended: Promise<unknown>, kill: () => void, ask: (what: string) => Promise<unknown> }

function pool (t: Test, options: object = {}): { piscina: Piscina, errors: Error[], host: () => PinnedHost } {
  const errors: Error[] = []
  const piscina = new Piscina({ filename, minThreads: 2, maxThreads: 2, atomics: 'disabled', recordTiming: false, execArgv: [], ...options })
  piscina.on('error', (error: Error) => errors.push(error))
  t.teardown(() => piscina.destroy())
  const host = (): PinnedHost => {
    const { port1, port2 } = new MessageChannel()
    const controller = new AbortController()
    const ended = piscina.run({ port: port2 }, { transferList: [port2 as never], signal: controller.signal })
    ended.catch(() => {})
    const ask = async (what: string): Promise<unknown> => {
      port1.postMessage(what)
      return await new Promise((resolve) => port1.once('message', resolve))
    }
    return { port: port1, ended, kill: () => controller.abort(), ask }
  }
  return { piscina, errors, host }
}

t.test('a task that waits on a port of ours runs as long as it likes, one a thread', async (t) => {
  const { host } = pool(t)
  const hosts = [host(), host()]
  const ids = await Promise.all(hosts.map(({ ask }) => ask('threadId')))
  t.equal(new Set(ids).size, 2)
  for (const { port } of hosts) port.postMessage('return')
  await Promise.all(hosts.map(({ ended }) => ended))
})

t.test('aborting it ends its thread, and no other; a task queued meanwhile gets the new thread', async (t) => {
  const { host } = pool(t)
  const [stuck, other] = [host(), host()] as [PinnedHost, PinnedHost]
  const [stuckId, otherId] = await Promise.all([stuck.ask('threadId'), other.ask('threadId')])
  stuck.port.postMessage('loop')
  stuck.kill()
  t.match(await rejection(stuck.ended), { name: 'AbortError' })
  const next = host()
  const nextId = await next.ask('threadId')
  t.not(nextId, stuckId)
  t.equal(await other.ask('threadId'), otherId, 'the neighbour lives')
})

for (const [what, expected] of [
  ['exit', { message: /exited with code: 3/ }],
  ['uncaught', { message: 'uncaught' }],
  ['memory', { code: 'ERR_WORKER_OUT_OF_MEMORY' }]
] as const) {
  t.test(`a thread that dies (${what}) rejects its task alone, and is respawned`, async (t) => {
    const { host } = pool(t, { resourceLimits: { maxOldGenerationSizeMb: 32 } })
    const [dying, other] = [host(), host()] as [PinnedHost, PinnedHost]
    const otherId = await other.ask('threadId')
    dying.port.postMessage(what)
    t.match(await rejection(dying.ended), expected)
    t.equal(await other.ask('threadId'), otherId)
    t.type(await host().ask('threadId'), 'number')
  })
}

t.test('what it said before it died is received', async (t) => {
  const { host } = pool(t)
  const dying = host()
  const said: unknown[] = []
  dying.port.on('message', (message) => said.push(message))
  dying.port.postMessage('last words')
  await rejection(dying.ended)
  await until(() => said.length === 1, 'it arrived')
  t.same(said, ['last words'])
})

t.test('a thread that dies between tasks emits an error and is respawned', async (t) => {
  const { errors, host } = pool(t, { minThreads: 1, maxThreads: 1 })
  const first = host()
  await first.ask('threadId')
  first.port.postMessage('die later')
  await first.ended
  await until(() => errors.length === 1, 'the error')
  t.equal(errors[0]?.message, 'later')
  t.type(await host().ask('threadId'), 'number')
})

t.test('destroy() rejects tasks that run', async (t) => {
  const { piscina, host } = pool(t)
  const { ended, ask } = host()
  await ask('threadId')
  await piscina.destroy()
  t.match(await rejection(ended), { message: 'Terminating worker thread' })
})

t.test('invalid execArgv are refused when it is made', async (t) => {
  t.throws(() => new Piscina({ filename, execArgv: ['--no-such-option'] }), { code: 'ERR_WORKER_INVALID_EXEC_ARGV' })
})
