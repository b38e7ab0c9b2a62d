import t from 'tap'
import { setImmediate as turn } from 'node:timers/promises'
import { drain, type Drained } from '../../plugins/lifecycle/drain.ts'
import type { Drainable } from '../../plugins/shared/drainables.ts'
import { deferred, fakeDrainable, type Deferred } from './fixtures.ts'

interface Run {
  entered: string[]
  errors: string[]
  deadline: Deferred<void>
  result: Promise<Drained>
}

function start (...drainables: Drainable[]): Run {
  const entered: string[] = []
  const errors: string[] = []
  const deadline = deferred()
  const result = drain(new Set(drainables), {
    deadline: deadline.promise,
    grace: 7,
    force: 3,
    enter: (phase) => entered.push(phase),
    onError: (error, { name }) => errors.push(`${name}: ${String(error)}`)
  })
  return { entered, errors, deadline, result }
}

t.test('a later phase begins when the earlier one holds nothing any more', async (t) => {
  const tasks = fakeDrainable('tasks', 'tasks')
  const workers = fakeDrainable('workers', 'workers')
  tasks.hold('t1')
  workers.hold('j1')
  const { entered, result } = start(workers, tasks)

  await turn()
  t.same(entered, ['requests', 'tasks'])
  t.equal(workers.closed, 0, 'a draining task may still run jobs')
  tasks.finish('t1')
  await turn()
  await turn()
  t.same(entered, ['requests', 'tasks', 'workers'])
  t.not(workers.closed, 0)
  workers.finish('j1')
  t.same(await result, { completed: 2, unfinished: [] })
  t.same([...tasks.abandonedAfter, ...workers.abandonedAfter], [])
})

t.test('two drainables of one phase may feed each other until both are empty', async (t) => {
  const mail = fakeDrainable('mail', 'tasks')
  const hooks = fakeDrainable('hooks', 'tasks')
  mail.hold('m1')
  const { entered, result } = start(mail, hooks)
  await turn()
  hooks.hold('h1')
  mail.finish('m1')
  await turn()
  t.same(entered, ['requests', 'tasks'], 'hooks was empty when the phase began, and is not now')
  hooks.finish('h1')
  t.equal((await result).completed, 2)
})

t.test('past the deadline what is left is given up in every phase at once, by name', async (t) => {
  const tasks = fakeDrainable('tasks', 'tasks')
  const workers = fakeDrainable('workers', 'workers')
  const idle = fakeDrainable('idle', 'workers')
  tasks.hold('t1')
  workers.hold('j1')
  const { deadline, entered, result } = start(tasks, workers, idle)
  await turn()
  deadline.resolve()
  const { unfinished } = await result
  t.same(unfinished.map(({ kind, id }) => `${kind} ${id}`), ['task t1', 'job j1'])
  t.same(entered, ['requests', 'tasks', 'workers'], 'every gate is closed by then')
  t.same([tasks.abandonedAfter, workers.abandonedAfter, idle.abandonedAfter], [[7], [7], []])
})

t.test('a drainable that throws does not keep the others from draining', async (t) => {
  const broken: Drainable = { ...fakeDrainable('broken', 'tasks'), pending: 1, idle: async () => { throw new Error('oops') } }
  const workers = fakeDrainable('workers', 'workers')
  workers.hold('j1')
  const { errors, entered, result } = start(broken, workers)
  await turn()
  await turn()
  t.same(entered, ['requests', 'tasks', 'workers'])
  workers.finish('j1')
  await result
  t.same(errors, ['broken: Error: oops'])
})

t.test('an idle() that resolves while work is pending cannot spin past the deadline', async (t) => {
  let lost = 0
  const liar: Drainable = {
    ...fakeDrainable('liar', 'tasks'), pending: 1, idle: async () => {}, giveUp: async () => { lost++; return [] }
  }
  const { deadline, result } = start(liar)
  setTimeout(deadline.resolve, 5)
  await result
  t.equal(lost, 1)
})
