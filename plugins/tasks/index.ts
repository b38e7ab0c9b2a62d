/**
 * The tasks plugin runs background work that outlives the request that started it: bounded, tracked, retried, and
 * finished before the process ends.
 *
 * In memory, a task is lost with the process: by a crash, and by a shutdown past its deadline, which reports the task.
 * With `redis`, named tasks are stored, and run at least once. A task shares the event loop: work that needs the CPU
 * goes to the workers.
 */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import cancellation from '../cancellation/index.ts'
import { countsOf } from '../core/ledger/counts.ts'
import { drainOnClose } from '../shared/drainables.ts'
import * as check from '../shared/options.ts'
import refusalLog from '../shared/refusal-log.ts'
import { tasksDefined } from './channels.ts'
import { createTasks, type Tasks } from './decorator.ts'
import { Groups } from './group/groups.ts'
import { checkEngine, memoryEngine, type Engine } from './named/engine.ts'
import { NamedTasks } from './named/named.ts'
import { TaskLedger } from './ledger.ts'
import { resolveOptions, type ResolvedTasksOptions, type TasksOptions } from './options.ts'
import { Scheduler } from './scheduler.ts'

export type { Unfinished } from '../shared/drainables.ts'
export type { TaskRefusalReason } from '../shared/errors.ts'
export type { Register } from '../register.ts'
export type {
  EnqueueOptions, GroupOptions, ReservedPlace, ReserveOptions, ScheduleOptions, Tasks
} from './decorator.ts'
export { defineTasks } from './named/define.ts'
export type { TaskDefinition, TaskDefinitions } from './named/define.ts'
export type {
  ConsumingProcess, DelayedTask, EngineOperations, FailedOptions, FailedTask, InspectOptions, Inspection, Operations,
  RunningTask, Schedule, ScheduleState, WaitingTask
} from './named/operations.ts'
export type { Operating } from './operating.ts'
export type { Engine, EngineFactory, EngineHost, NamedTask, QueueStats, ScheduledTask } from './named/engine.ts'
export type { Group, GroupContext, GroupFunction, MapFunction } from './group/group.ts'
export type { RedisToDuplicate, TasksOptions } from './options.ts'
export type { TasksStats } from './scheduler.ts'
export type { TraceCarrier } from '../../workers/protocol.ts'
export type { Backoff, DuplicatePolicy, TaskRunOptions, SubmitOptions } from './task-options.ts'
export type { TaskContext, TaskEnd, TaskFunction, TaskHandle, TaskStatus } from './task.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Runs background tasks; the named ones of `Register['tasks']`. */
    tasks: Tasks
  }
}

async function tasks (app: FastifyInstance, options: TasksOptions): Promise<void> {
  const resolved = resolveOptions(options)
  await app.register(cancellation, { ambient: resolved.ambient })
  await app.register(refusalLog)
  const named = await NamedTasks.load(resolved.tasks, resolved.defaults)
  const ledger = new TaskLedger(app)
  const scheduler = new Scheduler(resolved, { ledger, log: app.log })
  const engine = await createEngine(app, resolved, { named, scheduler, ledger })
  // Added before the drain, so that Fastify calls it after the drain.
  app.addHook('onClose', async () => engine.close?.())
  const groups = new Groups({ giveUpAfter: resolved.closeTimeout, ledger })
  const drainables = [scheduler, groups, ...(engine.drainable === undefined ? [] : [engine.drainable])]
  app.decorate('tasks', createTasks({ app, scheduler, groups, engine, named, options: resolved, ledger }))
  drainOnClose(app, drainables, resolved)
  app.addHook('onReady', async () => {
    for (const name of named.names) countsOf(app.server).tasks.of(name)
    tasksDefined.publish({ server: app.server, names: named.names })
    engine.start?.()
  })
}

async function createEngine (app: FastifyInstance, options: ResolvedTasksOptions,
  { named, scheduler, ledger }: { named: NamedTasks, scheduler: Scheduler, ledger: TaskLedger }): Promise<Engine> {
  if (options.engine === undefined && options.stored !== undefined) {
    // Imported here, since the packages that it needs are optional.
    const { BullmqEngine } = await import('./bullmq/engine.ts')
    return await BullmqEngine.open(options, options.stored, { named, ledger, log: app.log })
  }
  for (const name of named.names) {
    const perKey = named.perKey(name)
    check.ensure(perKey === undefined, `tasks.tasks.${name}.concurrency.perKey`,
      'to be left out without redis: it bounds stored tasks', perKey)
  }
  const create = options.engine ?? memoryEngine
  return checkEngine(await create({
    names: named.names,
    log: app.log,
    scheduler,
    run: (name, payload, context) => named.run(name, payload, context)
  }))
}

/** The Fastify plugin of background tasks, `app.tasks`. Register it alone if you use nothing else of the suite. */
export default fp(tasks, { name: 'fastify-concurrency/tasks', fastify: '5.x' })
