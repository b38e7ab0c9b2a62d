import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Turn } from '../../../plugins/limiter/stores/turn.ts'
import { deferred, rejection } from '../../helper.ts'

const LATE = { message: /^The store took longer than 20 ms$/ }

function stall (ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}

t.test('each operation of a turn settles as it does itself, or is late', async (t) => {
  const failed = new Error('gone')
  let ended = 0
  const turn = new Turn(20, () => { ended++ })
  const slow = deferred<string>()
  const operations = ['now', Promise.resolve('soon'), slow.promise, new Promise<string>(() => {})]
  const calls = operations.map((operation) => turn.bound(operation))
  const error = rejection(turn.bound(Promise.reject(failed)))
  t.equal(ended, 0, 'its turn goes on')
  t.strictSame(await Promise.all(calls.slice(0, 2)), ['now', 'soon'])
  t.equal(await error, failed)
  slow.resolve('slow')
  t.equal(await calls[2], 'slow')
  t.match(await rejection(calls[3]!), LATE, 'the one that is never answered')
  t.equal(ended, 1)
})

t.test('an operation that is late holds none of a later turn, and one that is answered late stays late', async (t) => {
  const answers = [deferred<number>(), deferred<number>()]
  const first = new Turn(20, () => {}).bound(answers[0]!.promise)
  const late = rejection(first)
  await new Promise(setImmediate)
  const second = new Turn(60_000, () => {}).bound(answers[1]!.promise)
  t.match(await late, LATE)
  for (const [index, { resolve }] of answers.entries()) resolve(index)
  t.equal(await second, 1)
  t.match(await rejection(first), LATE)
})

t.test('the time begins at the end of the turn, when clients send', async (t) => {
  const answer = deferred<string>()
  const call = new Turn(20, () => {}).bound(answer.promise)
  stall(60)
  setTimeout(() => answer.resolve('in time'), 5)
  t.equal(await call, 'in time')
})

t.test('a stall of the event loop is no slowness of the store: what has arrived is read first', async (t) => {
  const reply = deferred<string>()
  const call = new Turn(20, () => {}).bound(reply.promise)
  await new Promise(setImmediate)
  setImmediate(() => {
    stall(60)
    // After the timers, as a socket is read.
    setImmediate(() => reply.resolve('read'))
  })
  t.equal(await call, 'read')
})

t.test('a turn whose operations are answered leaves no timer', async (t) => {
  await new Turn(60_000, () => {}).bound('at once')
  await sleep(1)
  t.notOk(process.getActiveResourcesInfo().includes('Timeout'))
})
