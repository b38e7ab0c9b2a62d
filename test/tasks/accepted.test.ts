// "Nothing accepted is lost": whatever is submitted, joined, cancelled, retried, timed out and shut down, each accepted task ends
// exactly once, with one outcome, and one id never runs twice at once.
import t from 'tap'
import fc from 'fast-check'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import { Scheduler, type Place } from '../../plugins/tasks/scheduler.ts'
import { defaultTaskOptions, type DuplicatePolicy, type TaskOptions } from '../../plugins/tasks/task-options.ts'
import { TaskLedger } from '../../plugins/tasks/ledger.ts'
import type { Outcome } from '../../plugins/core/ledger/ledger.ts'
import type { Submission, Task, TaskFunction, TaskHandle } from '../../plugins/tasks/task.ts'
import tasks, { defineTasks } from '../../plugins/tasks/index.ts'
import { deferred, rejection, until } from '../helper.ts'

/** Ways of a function: it ends at once or when it is released; it heeds its signal or not; it fails or not. */
const ways = ['returns', 'throws', 'resolves', 'rejects', 'waits', 'waits and fails', 'heeds', 'submits'] as const
type Way = typeof ways[number]

interface Submit { what: 'submit' | 'reserve and submit', id: string, way: Way, options: Partial<TaskOptions> }
type Command = Submit | { what: 'cancel' | 'release' | 'turn' | 'ms' | 'close' | 'give up', at: number }

const commands = fc.array(fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      what: fc.constantFrom('submit' as const, 'submit' as const, 'reserve and submit' as const),
      id: fc.constantFrom('a', 'b', '__proto__'),
      way: fc.constantFrom(...ways),
      options: fc.record({
        duplicate: fc.constantFrom<DuplicatePolicy>('reject', 'join'),
        delay: fc.constantFrom(0, 0, 1, 3),
        timeout: fc.constantFrom(1, 3, 1_000),
        retries: fc.constantFrom(0, 0, 2)
      })
    })
  },
  { weight: 6, arbitrary: fc.record({ what: fc.constantFrom('cancel' as const, 'release' as const, 'turn' as const, 'ms' as const), at: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constantFrom('close' as const, 'give up' as const), at: fc.nat(20) }) }
), { minLength: 5, maxLength: 40 })

/** Records each task's outcomes, and what must never happen. */
class Record extends TaskLedger {
  readonly outcomes = new Map<object, string[]>()
  readonly violations: string[] = []

  override submitted (task: Task): void {
    this.outcomes.set(task, [])
  }

  override started (task: Task): void {
    if (this.outcomes.get(task)?.length !== 0) this.violations.push(`${task.id} started after its end`)
  }

  override ended (task: Pick<Task, 'id' | 'attempts'>, outcome: Outcome): void {
    super.ended(task, outcome)
    this.outcomes.get(task)?.push(outcome.how) ?? this.violations.push(`${task.id} ended before it was accepted`)
  }
}

class World {
  readonly handles = new Set<TaskHandle>()
  readonly gates: Array<() => void> = []
  readonly ledger: Record
  readonly scheduler: Scheduler
  readonly #running = new Map<string, number>()

  constructor () {
    const app = Fastify()
    this.ledger = new Record(app)
    this.scheduler = new Scheduler({ concurrency: 2, maxQueue: 3, grace: 2 }, { ledger: this.ledger, log: app.log })
  }

  submission ({ id, way, options }: Submit): Submission {
    const fn: TaskFunction<unknown> = (context) => {
      const running = (this.#running.get(id) ?? 0) + 1
      this.#running.set(id, running)
      if (running > 1) this.ledger.violations.push(`${id} runs twice at once`)
      const ended = (): void => { this.#running.set(id, this.#running.get(id)! - 1) }
      const result = this.#run(way, id, context)
      if (result instanceof Promise) return result.finally(ended)
      ended()
      if (result instanceof Error) throw result
      return result
    }
    return { id, key: id, fn, options: { ...defaultTaskOptions, backoff: { base: 2, max: 2 }, ...options }, reqId: undefined }
  }

  #run (way: Way, id: string, { signal }: { signal: AbortSignal }): unknown {
    const gate = (): Promise<void> => new Promise((resolve) => { this.gates.push(resolve) })
    switch (way) {
      case 'returns': return 1
      case 'throws': return new Error('thrown')
      case 'resolves': return turn(1)
      case 'rejects': return turn().then(() => { throw new Error('rejected') })
      case 'waits': return gate()
      case 'waits and fails': return gate().then(() => { throw new Error('released') })
      case 'heeds': return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
      case 'submits': {
        this.attempt(() => this.scheduler.submit(this.submission({ what: 'submit', id, way: 'returns', options: { duplicate: 'join' } })))
        return 1
      }
    }
  }

  attempt (accept: () => TaskHandle): void {
    try {
      this.handles.add(accept())
    } catch (error) {
      if (!/^FC_ERR_(TASKS_FULL|TASK_DUPLICATE|CLOSING)$/.test((error as { code: string }).code)) throw error
    }
  }

  async run (command: Command): Promise<void> {
    const { scheduler } = this
    switch (command.what) {
      case 'submit': return this.attempt(() => scheduler.submit(this.submission(command)))
      case 'reserve and submit': return this.attempt(() => {
        const place: Place = scheduler.reserve(command.id)
        try {
          return place.submit(this.submission(command))
        } finally {
          place.release()
        }
      })
      case 'cancel': return [...this.handles][command.at % Math.max(this.handles.size, 1)]?.cancel()
      case 'release': return this.gates.splice(command.at % Math.max(this.gates.length, 1), 1)[0]?.()
      case 'turn': await turn(); return
      case 'ms': await sleep(1); return
      case 'close': return scheduler.close()
      case 'give up': await scheduler.giveUp(1)
    }
  }

  async end (): Promise<void> {
    let idle = false
    void this.scheduler.idle().then(() => { idle = true })
    const end = performance.now() + 5_000
    for (;;) {
      for (const gate of this.gates.splice(0)) gate()
      for (const handle of this.handles) handle.cancel()
      if (idle && this.scheduler.stats().leaked === 0 && this.gates.length === 0) break
      if (performance.now() > end) throw new Error(`not idle: ${JSON.stringify(this.scheduler.stats())}`)
      await sleep(1)
    }
    // Callers that wait for room stop waiting.
    await sleep(4)
  }
}

t.test('every interleaving of calls and events ends each accepted task once', async (t) => {
  await fc.assert(fc.asyncProperty(commands, async (commands) => {
    const world = new World()
    for (const command of commands) await world.run(command)
    await world.end()
    const { scheduler, handles, ledger: { outcomes, violations } } = world
    const ends = [...outcomes.values()].map((each) => each.length)
    const { running, waiting, reserved, completed, failed, aborted } = scheduler.stats()
    const settled = await Promise.all([...handles].map(async (handle) => handle.done.then(() => 'completed', () => handle.status)))
    return violations.length === 0 && ends.every((count) => count === 1) && ends.length >= handles.size &&
      running === 0 && waiting === 0 && reserved === 0 && completed + failed + aborted === ends.length && scheduler.timers === 0 &&
      settled.every((status) => ['completed', 'failed', 'aborted'].includes(status)) && scheduler.held().length === 0
  }), { numRuns: 400, seed: Number(process.env['FC_SEED'] ?? 10), endOnFailure: true })
  t.pass('each accepted task has ended once')
})

async function build (options: object = {}): Promise<ReturnType<typeof Fastify>> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(tasks, options)
  return app
}

t.test('a task that is aborted or has leaked can\'t be joined: an accepted task is always run', async (t) => {
  const app = await build({ grace: 5 })
  const go = deferred()
  const first = app.tasks.submit('mail:1', () => go.promise)
  await until(() => first.status === 'running', 'it runs')
  const join = (): TaskHandle => app.tasks.submit('mail:1', () => 'sent', { duplicate: 'join' })
  t.equal(join(), first)
  first.cancel()
  t.throws(join, { code: 'FC_ERR_TASK_DUPLICATE' })
  await until(() => app.tasks.stats().leaked === 1, 'it ignores its signal')
  t.throws(join, { code: 'FC_ERR_TASK_DUPLICATE' }, 'the id is taken until the function has ended')
  go.resolve()
  await until(() => app.tasks.stats().leaked === 0, 'it has ended')
  t.equal(await join().done, 'sent')
})

t.test('an id that enqueue() makes never equals another: with join, each mail is sent', async (t) => {
  const app = await build({ concurrency: 1, maxQueue: 1_000, tasks: defineTasks({ mail: { handler: (to: string) => { sent.push(to) } } }) })
  const enqueue = app.tasks.enqueue.bind(app.tasks) as unknown as (name: string, payload: string, options?: object) => Promise<TaskHandle>
  const sent: string[] = []
  const go = deferred()
  for (let i = 0; i < 20; i++) await enqueue('mail', `own ${i}`, { id: String(i) })
  app.tasks.submit('mail:21', async () => { await go.promise; sent.push('submitted') })
  const made = new Set<string>()
  for (let i = 0; i < 20; i++) made.add((await enqueue('mail', `any ${i}`, { duplicate: 'join' })).id)
  for (let i = 20; i < 40; i++) if (i !== 21) await enqueue('mail', `own ${i}`, { id: String(i) })
  go.resolve()
  await app.tasks.idle()
  t.equal(made.size, 20)
  t.equal(new Set(sent).size, 20 + 1 + 20 + 19)
})

t.test('a listener of tasks:submitted may cancel the task', async (t) => {
  const app = await build()
  const { subscribe, unsubscribe } = await import('node:diagnostics_channel')
  const cancel = (): void => app.tasks.submit('a', () => {}, { duplicate: 'join' }).cancel()
  subscribe('fastify-concurrency:tasks:submitted', cancel)
  const first = app.tasks.submit('a', () => t.fail('it never runs'))
  unsubscribe('fastify-concurrency:tasks:submitted', cancel)
  t.match(await rejection(first.done), { code: 'FC_ERR_TASK_ABORTED' })
  t.match(app.tasks.stats(), { running: 0, waiting: 0, reserved: 0, completed: 0, aborted: 1 })
})
