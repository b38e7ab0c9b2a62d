// Pins what plugins/workers/threads/piscina.ts leans on. If one of these fails after an update, read that file before the test.
import t, { type Test } from 'tap'
import { once } from 'node:events'
import { MessageChannel, type MessagePort, type Worker } from 'node:worker_threads'
import { Piscina } from 'piscina'
import { rejection, until } from '../../helper.ts'

const filename = new URL('../../fixtures/pinned-host.mjs', import.meta.url).href

interface PinnedHost { port: MessagePort, ask: (what: string) => Promise<unknown> }

function pool (t: Test, options: object = {}): { piscina: Piscina, errors: Error[], host: () => PinnedHost, worker: () => Worker } {
  const errors: Error[] = []
  const piscina = new Piscina({ filename, minThreads: 0, maxThreads: 1, maxQueue: 1, idleTimeout: Infinity, atomics: 'disabled', recordTiming: false, execArgv: [], ...options })
  piscina.on('error', (error: Error) => errors.push(error))
  // Neither a thread without a task nor our own port, which tests listen to only once, holds the process open.
  const open = setInterval(() => {}, 1_000)
  t.teardown(async () => {
    clearInterval(open)
    await piscina.destroy()
  })
  const host = (): PinnedHost => {
    const { port1, port2 } = new MessageChannel()
    t.teardown(() => port1.close())
    piscina.run({ port: port2 }, { transferList: [port2 as never] }).catch(() => {})
    const ask = async (what: string): Promise<unknown> => {
      port1.postMessage(what)
      return await new Promise((resolve) => port1.once('message', resolve))
    }
    return { port: port1, ask }
  }
  return { piscina, errors, host, worker: () => piscina.threads[0] as Worker }
}

t.test('no thread is started before there is a task, and then at once, in the same turn', async (t) => {
  const { piscina, host } = pool(t)
  t.equal(piscina.threads.length, 0)
  host()
  t.equal(piscina.threads.length, 1)
})

t.test('what a task leaves behind goes on when the task has returned, however long the thread is idle to piscina', async (t) => {
  const { piscina, host } = pool(t)
  const first = host()
  const id = await first.ask('threadId')
  await new Promise((resolve) => setTimeout(resolve, 200))
  t.equal(piscina.threads.length, 1)
  t.equal(await first.ask('threadId'), id)
})

t.test('destroy() ends a thread whatever it is doing', async (t) => {
  const { piscina, host, worker } = pool(t)
  const stuck = host()
  await stuck.ask('threadId')
  stuck.port.postMessage('loop')
  const exit = once(worker(), 'exit')
  void piscina.destroy()
  t.same(await exit, [1])
})

t.test('destroy() rejects a task that has not returned', async (t) => {
  const { piscina, worker } = pool(t)
  const { port2 } = new MessageChannel()
  const task = rejection(piscina.run({ port: port2 }, { transferList: [port2 as never] }))
  t.ok(worker())
  void piscina.destroy()
  t.match(await task, { message: 'Terminating worker thread' })
})

for (const [what, expected] of [
  ['exit', [/exited with code: 3/]],
  ['uncaught', ['uncaught']],
  ['memory', ['ERR_WORKER_OUT_OF_MEMORY']]
] as const) {
  t.test(`a thread that dies (${what}) after its task has returned says so by its own events, and is not replaced`, async (t) => {
    const { piscina, host, worker } = pool(t, { resourceLimits: { maxOldGenerationSizeMb: 32 } })
    const dying = host()
    await dying.ask('threadId')
    const errors: Array<Error & { code?: string }> = []
    worker().once('error', (error) => errors.push(error))
    const exit = new Promise<number>((resolve) => worker().once('exit', resolve))
    dying.port.postMessage(what)
    const code = await exit
    t.match([errors[0]?.code ?? errors[0]?.message ?? `exited with code: ${code}`], expected)
    t.equal(piscina.threads.length, 0)
  })
}

t.test('what a thread said before it died is received', async (t) => {
  const { host } = pool(t)
  const dying = host()
  const said: unknown[] = []
  dying.port.on('message', (message) => said.push(message))
  dying.port.postMessage('last words')
  await until(() => said.length === 1, 'it arrived')
  t.same(said, ['last words'])
})

t.test('a thread that dies before it is ready says so by its own events', async (t) => {
  const { host, worker } = pool(t, { execArgv: ['--import', './no-such-file.mjs'] })
  host()
  const errors: Error[] = []
  worker().once('error', (error) => errors.push(error))
  await new Promise((resolve) => worker().once('exit', resolve))
  t.match(errors, [{ message: /no-such-file/ }])
})

t.test('run() throws what new Worker throws', async (t) => {
  // Not destroyed: it would reject the promise of a task that nobody got.
  const piscina = new Piscina({ filename, minThreads: 0, maxThreads: 1, execArgv: ['--no-such-option', '--expose-gc'] })
  t.throws(() => piscina.run({}), { code: 'ERR_WORKER_INVALID_EXEC_ARGV', message: /: --no-such-option, --expose-gc$/ })
})
