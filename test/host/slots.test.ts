import t from 'tap'
import * as slots from '../../workers/slots.ts'

t.test('either the worker starts a job or the main thread revokes it, never both', async (t) => {
  const table = slots.createSlots(2)
  slots.assign(table, 0, 7, 0, 1, Infinity)
  t.ok(slots.start(table, 0))
  t.notOk(slots.revoke(table, 0), 'started: too late to take back')
  slots.assign(table, 1, 7, 0, 1, Infinity)
  t.ok(slots.revoke(table, 1))
  t.notOk(slots.start(table, 1), 'taken back: not the worker\'s any more')
})

t.test('only a started job can be aborted, and it sees that', async (t) => {
  const table = slots.createSlots(1)
  slots.assign(table, 0, 7, 0, 1, Infinity)
  slots.abort(table, 0)
  t.notOk(slots.isAborted(table, 0))
  slots.start(table, 0)
  t.notOk(slots.isAborted(table, 0))
  slots.abort(table, 0)
  t.ok(slots.isAborted(table, 0))
  slots.free(table, 0)
  t.notOk(slots.isAborted(table, 0))
})

t.test('a slot begins free, and is free again; the states are apart', async (t) => {
  const table = slots.createSlots(3)
  t.strictSame([...table.states], [slots.FREE, slots.FREE, slots.FREE])
  t.equal(new Set([slots.FREE, slots.ASSIGNED, slots.STARTED, slots.REVOKED, slots.ABORTED]).size, 5)
  slots.assign(table, 1, 7, 0, 1, Infinity)
  slots.free(table, 1)
  t.equal(table.states[1], slots.FREE)
  t.notOk(slots.start(table, 1), 'a free slot has no job')
  t.notOk(slots.revoke(table, 1))
})

t.test('each slot has a job of its own', async (t) => {
  const table = slots.createSlots(3)
  const jobs = [0, 1, 2].map((slot) => ({ seq: 10 + slot, job: 20 + slot, attempt: 30 + slot, deadline: 40 + slot }))
  for (const [slot, { seq, job, attempt, deadline }] of jobs.entries()) slots.assign(table, slot, seq, job, attempt, deadline)
  t.strictSame([0, 1, 2].map((slot) => slots.assignment(table, slot)), jobs)
  t.equal(table.outcomes.length, 3)
  t.equal(table.read.length, 1)
})

t.test('a job is started from the moment its worker starts it, also when it is asked to stop', async (t) => {
  const table = slots.createSlots(1)
  t.notOk(slots.isStarted(table, 0))
  slots.assign(table, 0, 7, 0, 1, Infinity)
  t.notOk(slots.isStarted(table, 0))
  slots.start(table, 0)
  t.ok(slots.isStarted(table, 0))
  slots.abort(table, 0)
  t.ok(slots.isStarted(table, 0))
  slots.free(table, 0)
  t.notOk(slots.isStarted(table, 0))
  slots.assign(table, 0, 8, 0, 1, Infinity)
  slots.revoke(table, 0)
  t.notOk(slots.isStarted(table, 0))
})

t.test('1,000 lines may be on their way, and 1,000 more at error; what must be posted always may', async (t) => {
  const table = slots.createSlots(1)
  const posted = (kind?: 'error' | 'must'): number => {
    let count = 0
    while (count < 5_000 && slots.mayPost(table, kind)) count++
    return count
  }
  t.equal(posted(), 1_000)
  t.equal(posted(), 0, 'a line that was dropped isn\'t on its way')
  slots.received(table)
  t.equal(posted(), 1, 'one was received: there is room for one')
  t.equal(posted('error'), 1_000)
  t.equal(posted('error'), 0)
  t.equal(posted('must'), 5_000)
  t.equal(Atomics.load(table.backlog, 0), 7_000)
})
