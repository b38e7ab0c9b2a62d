import t from 'tap'
import { Context } from '../../workers/context.ts'
import type { FromHost } from '../../workers/protocol.ts'
import * as slots from '../../workers/slots.ts'

function started (post: (message: FromHost) => void = () => {}): { context: Context, table: slots.Slots } {
  const table = slots.createSlots(1)
  slots.assign(table, 0, 7, 0, 1, Infinity)
  slots.start(table, 0)
  return { table, context: new Context('job', slots.assignment(table, 0), table, 0, post) }
}

t.test('aborted in a loop, before any message', async (t) => {
  const { context, table } = started()
  context.throwIfAborted()
  slots.abort(table, 0)
  t.equal(context.aborted, true)
  t.throws(() => context.throwIfAborted(), { name: 'AbortError' })
  t.equal(context.signal.aborted, true, 'a signal first read after the abort has aborted')
})

t.test('the signal aborts with the reason that the message brings', async (t) => {
  const { context } = started()
  const { signal } = context
  const reason = new Error('mine')
  context.abort(reason)
  t.equal(signal.reason, reason)

  const late = started()
  slots.abort(late.table, 0)
  late.context.abort(reason)
  t.equal(late.context.signal.reason, reason, 'first read afterwards')
  t.throws(() => late.context.throwIfAborted(), reason)
})

t.test('code that a job left behind does not see the next job of its slot', async (t) => {
  const posted: FromHost[] = []
  const { context, table } = started((message) => posted.push(message))
  context.end()
  slots.free(table, 0)
  slots.assign(table, 0, 7, 0, 1, Infinity)
  slots.start(table, 0)
  slots.abort(table, 0)
  t.equal(context.aborted, false)
  context.progress(1)
  t.same(posted, [], 'nor speaks in its name')
})
