/**
 * The tasks plugin runs background work that outlives the request that started it: bounded, tracked, retried, and finished before the
 * process ends.
 *
 * In memory, a task is lost with the process: by a crash, and by a shutdown past its deadline, which reports the task. A task shares the event
 * loop: work that needs the CPU goes to the workers.
 */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import cancellation from '../cancellation/index.ts'
import { monotonic } from '../shared/clock.ts'
import { drainOnClose } from '../shared/drainables.ts'
import refusalLog from '../shared/refusal-log.ts'
import { createTasks, type Tasks } from './decorator.ts'
import { Groups } from './group/groups.ts'
import { checkEngine } from './named/engine.ts'
import { NamedTasks } from './named/named.ts'
import { resolveOptions, type TasksOptions } from './options.ts'
import { Scheduler } from './scheduler.ts'
import { Telemetry } from './telemetry.ts'

export type { Unfinished } from '../shared/drainables.ts'
export type { Register } from '../register.ts'
export type { EnqueueOptions, GroupOptions, ReservedPlace, ReserveOptions, Tasks } from './decorator.ts'
export { defineTasks } from './named/define.ts'
export type { TaskDefinition, TaskDefinitions } from './named/define.ts'
export type { Engine, EngineFactory, EngineHost, NamedTask } from './named/engine.ts'
export type { Group, GroupContext, GroupFunction } from './group/group.ts'
export type { TasksOptions } from './options.ts'
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
  const telemetry = new Telemetry(app)
  const scheduler = new Scheduler(resolved, { telemetry, log: app.log, clock: monotonic })
  const engine = checkEngine(await resolved.engine({
    names: named.names,
    log: app.log,
    scheduler,
    run: (name, payload, context) => named.run(name, payload, context)
  }))
  const groups = new Groups({ patience: resolved.closeTimeout, telemetry, clock: monotonic })
  const drainables = [scheduler, groups, ...(engine.drainable === undefined ? [] : [engine.drainable])]
  app.decorate('tasks', createTasks({ app, scheduler, groups, engine, named, options: resolved, telemetry }))
  drainOnClose(app, drainables, resolved)
}

export default fp(tasks, { name: 'fastify-concurrency/tasks', fastify: '5.x' })
