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
