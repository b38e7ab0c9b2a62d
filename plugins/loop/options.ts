import type { FastifyRequest } from 'fastify'
import * as check from '../shared/options.ts'

/** The options of the admission of the event loop. */
export interface LoopOptions {
  /**
   * How long any request may be held, in ms. A burst of so much work on an idle process is served whole. Lower it if
   * your clients give up sooner.
   * @default 10_000
   */
  maxWait?: number
  /**
   * The longest wait in an overload, in ms, and how much work may have waited in vain before a fourth of it counts as
   * one.
   * @default 1_000
   */
  orderWait?: number
  /**
   * The shortest wait in an overload, in ms. Raise it if your clients are patient and your database is slow.
   * @default 100
   */
  targetWait?: number
  /**
   * How many requests may be held at a time. Each costs the memory of a request and keeps its connection.
   * @default 10_000
   */
  maxHeld?: number
  /**
   * Whose request it is: keys share the loop. It is called when a request is held, and not before. A key that is no
   * string, or that can't be computed, counts as the client's address.
   * @default the client's address (IPv6 by /64)
   */
  key?: (request: FastifyRequest) => string
  /**
   * From how many ms on the log says that something held the loop.
   * @default 200
   */
  slow?: number
}

/** @internal Every option, for the test that compares them with the docs. */
export const loopOptionNames = ['maxWait', 'orderWait', 'targetWait', 'maxHeld', 'key', 'slow'] as const satisfies ReadonlyArray<keyof LoopOptions>

export type ResolvedLoopOptions = ReturnType<typeof resolveOptions>

export const loopDefaults = { maxWait: 10_000, orderWait: 1_000, targetWait: 100, maxHeld: 10_000, slow: 200 }

export function resolveOptions (options: LoopOptions) {
  check.record('loop', options, loopOptionNames)
  const duration = (name: 'maxWait' | 'orderWait' | 'targetWait'): number | undefined =>
    options[name] === undefined ? undefined : check.duration(`loop.${name}`, options[name], { min: 1, max: check.MAX_DURATION })
  const [max, order, target] = [duration('maxWait'), duration('orderWait'), duration('targetWait')]
  // A default gives way to the options that are set.
  const maxWait = max ?? Math.max(loopDefaults.maxWait, order ?? 0, target ?? 0)
  const orderWait = order ?? Math.min(maxWait, Math.max(loopDefaults.orderWait, target ?? 0))
  const targetWait = target ?? Math.min(loopDefaults.targetWait, orderWait)
  check.ensure(orderWait <= maxWait, 'loop.orderWait', `at most maxWait (${maxWait})`, orderWait)
  check.ensure(targetWait <= orderWait, 'loop.targetWait', `at most orderWait (${orderWait})`, targetWait)
  return {
    maxWait,
    orderWait,
    targetWait,
    maxHeld: check.integer('loop.maxHeld', options.maxHeld ?? loopDefaults.maxHeld, { min: 1 }),
    key: options.key === undefined ? undefined : check.fn<NonNullable<LoopOptions['key']>>('loop.key', options.key),
    slow: check.duration('loop.slow', options.slow ?? loopDefaults.slow, { min: 1, max: check.MAX_DURATION })
  }
}
