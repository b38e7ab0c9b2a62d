import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import { drainablesOf, type Unfinished, type Drainable, type DrainPhase } from '../../plugins/shared/drainables.ts'
import lifecycle, { type LifecycleOptions } from '../../plugins/lifecycle/index.ts'
import { assertIdle } from '../../plugins/testing.ts'

/** An app with lifecycle. The end of the test closes it, and fails the test if something is left. */
export async function createApp (t: Test, options: LifecycleOptions, server: FastifyServerOptions): Promise<FastifyInstance> {
  const app = Fastify(server) as unknown as FastifyInstance
  t.teardown(async () => {
    await app.close()
    await assertIdle(app)
  })
  await app.register(lifecycle, options)
  return app
}

export interface Deferred<T> {
  promise: Promise<T>
  resolve: (value: T) => void
  reject: (error: unknown) => void
}

export function deferred<T = void> (): Deferred<T> {
  let resolve!: (value: T) => void
  let reject!: (error: unknown) => void
  const promise = new Promise<T>((_resolve, _reject) => { resolve = _resolve; reject = _reject })
  return { promise, resolve, reject }
}

export interface FakeDrainable extends Drainable {
  closed: number
  abandonedAfter: number[]
  hold (id: string): void
  finish (id: string): void
}

/** Holds names until they are finished by hand. */
export function fakeDrainable (name: string, phase: DrainPhase): FakeDrainable {
  const held = new Set<string>()
  let waiters: Array<() => void> = []
  const wake = (): void => {
    if (held.size > 0) return
    for (const resolve of waiters) resolve()
    waiters = []
  }
  const list = (): Unfinished[] => [...held].map((id) => ({ kind: phase === 'tasks' ? 'task' : 'job', name, id, ageMs: 0, attempt: 1 }))
  return {
    name,
    phase,
    completed: 0,
    closed: 0,
    abandonedAfter: [],
    get pending () { return held.size },
    hold (id) { held.add(id) },
    finish (id) {
      held.delete(id);
      (this as { completed: number }).completed++
      wake()
    },
    close () { this.closed++ },
    idle: () => held.size === 0 ? Promise.resolve() : new Promise((resolve) => { waiters.push(resolve) }),
    held: list,
    async giveUp (grace) {
      this.abandonedAfter.push(grace)
      const lost = list()
      held.clear()
      wake()
      return lost
    }
  }
}

/** Resolves when the app has entered `wanted`. */
export async function phase (app: FastifyInstance, wanted: string): Promise<void> {
  if (app.lifecycle.phase === wanted) return
  await new Promise<void>((resolve) => {
    const listener = (message: unknown): void => {
      const { server, phase } = message as { server: object, phase: string }
      if (server !== app.server || phase !== wanted) return
      unsubscribe('fastify-concurrency:lifecycle:entered', listener)
      setImmediate(resolve)
    }
    subscribe('fastify-concurrency:lifecycle:entered', listener)
  })
}

/** Resolves when `count` requests are in flight. */
export async function inFlight (app: FastifyInstance, count: number): Promise<void> {
  const requests = [...drainablesOf(app)].find(({ name }) => name === 'requests')!
  while (requests.pending !== count) await new Promise(setImmediate)
}
