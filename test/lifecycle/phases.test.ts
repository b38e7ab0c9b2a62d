import t from 'tap'
import { admits, isStopping, later, phases } from '../../plugins/lifecycle/phases.ts'

t.test('requests drain before tasks, tasks before workers, and all before the app closes', async (t) => {
  t.same(phases, ['serving', 'leaving', 'requests', 'tasks', 'workers', 'closing', 'closed'])
})

t.test('a shutdown never goes back to an earlier phase', async (t) => {
  t.equal(later('tasks', 'leaving'), 'tasks')
  t.equal(later('tasks', 'workers'), 'workers')
  t.equal(later('tasks', 'tasks'), 'tasks')
})

t.test('what each phase admits', async (t) => {
  t.same(phases.filter((phase) => admits(phase, false)), ['serving', 'leaving'])
  t.same(phases.filter((phase) => admits(phase, true)), phases, 'liveness, as long as Fastify listens')
  t.same(phases.filter((phase) => !isStopping(phase)), ['serving'])
})
