/**
 * The tasks plugin runs background work that outlives the request that started it: bounded, tracked, retried, and finished before the
 * process ends.
 *
 * In memory, a task is lost with the process: by a crash, and by a shutdown past its deadline, which reports the task. With `redis`, named tasks
 * are stored, and run at least once. A task shares the event loop: work that needs the CPU goes to the workers.
 */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import cancellation from '../cancellation/index.ts'
import { monotonic } from '../shared/clock.ts'
import { drainOnClose } from '../shared/drainables.ts'
import refusalLog from '../shared/refusal-log.ts'
import { tasksDefined } from './channels.ts'
import { createTasks, type Tasks } from './decorator.ts'
import { Groups } from './group/groups.ts'
import { checkEngine, memoryEngine, type Engine } from './named/engine.ts'
import { NamedTasks } from './named/named.ts'
import { resolveOptions, type ResolvedTasksOptions, type TasksOptions } from './options.ts'
import { Scheduler } from './scheduler.ts'
import { TaskTelemetry } from './telemetry.ts'

export type { Unfinished } from '../shared/drainables.ts'
export type { Register } from '../register.ts'
export type { EnqueueOptions, GroupOptions, ReservedPlace, ReserveOptions, ScheduleOptions, Tasks } from './decorator.ts'
export { defineTasks } from './named/define.ts'
export type { TaskDefinition, TaskDefinitions } from './named/define.ts'
export type { Engine, EngineFactory, EngineHost, NamedTask, QueueStats, Schedule, ScheduledTask } from './named/engine.ts'
export type { Group, GroupContext, GroupFunction } from './group/group.ts'
export type { RedisToDuplicate, TasksOptions } from './options.ts'
export type { TasksStats } from './scheduler.ts'
export type { TraceCarrier } from '../../workers/protocol.ts'
export type { DuplicatePolicy, TaskRunOptions, SubmitOptions } from './task-options.ts'
export type { TaskContext, TaskFunction, TaskHandle, TaskStatus } from './task.ts'

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
  const telemetry = new TaskTelemetry(app)
  const scheduler = new Scheduler(resolved, { telemetry, log: app.log, clock: monotonic })
  const engine = await createEngine(app, resolved, { named, scheduler, telemetry })
  // Added before the drain, so that Fastify calls it after the drain.
  app.addHook('onClose', async () => engine.close?.())
  const groups = new Groups({ giveUpAfter: resolved.closeTimeout, telemetry, clock: monotonic })
  const drainables = [scheduler, groups, ...(engine.drainable === undefined ? [] : [engine.drainable])]
  app.decorate('tasks', createTasks({ app, scheduler, groups, engine, named, options: resolved, telemetry }))
  drainOnClose(app, drainables, resolved)
  app.addHook('onReady', async () => {
    tasksDefined.publish({ server: app.server, names: named.names })
    engine.start?.()
  })
}

async function createEngine (app: FastifyInstance, options: ResolvedTasksOptions, { named, scheduler, telemetry }: { named: NamedTasks, scheduler: Scheduler, telemetry: TaskTelemetry }): Promise<Engine> {
  if (options.engine === undefined && options.stored !== undefined) {
    // Imported here, since the packages that it needs are optional.
    const { BullmqEngine } = await import('./bullmq/engine.ts')
    return await BullmqEngine.open(options, options.stored, { named, telemetry, log: app.log, clock: monotonic })
  }
  const create = options.engine ?? memoryEngine
  return checkEngine(await create({
    names: named.names,
    log: app.log,
    scheduler,
    run: (name, payload, context) => named.run(name, payload, context)
  }))
}

export default fp(tasks, { name: 'fastify-concurrency/tasks', fastify: '5.x' })
