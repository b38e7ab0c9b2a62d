import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import * as check from './check.ts'
import { isInstrumented } from './contexts.ts'
import { detector } from './detector.ts'
import { checkApp } from './options.ts'

export interface HammerOptions {
  /**
   * How many requests are sent.
   * @default 100
   */
  times?: number
  /**
   * How many are under way at the same time.
   * @default 10
   */
  concurrency?: number
}

/** @internal Every option, for the test that compares them with the docs. */
export const hammerOptionNames = ['times', 'concurrency'] as const satisfies ReadonlyArray<keyof HammerOptions>

/**
 * Sends many requests to an app, several at a time, with `inject()`. It is the test of a route that requests share state on: races show only
 * where requests overlap. Use `explore()` to try orders that chance doesn't bring about.
 *
 * @param request as for `app.inject()`, or a function that makes the n-th one
 * @returns the responses, in the order of the requests
 */
export async function hammer (app: FastifyInstance, request: string | InjectOptions | ((index: number) => string | InjectOptions), options: HammerOptions = {}): Promise<LightMyRequestResponse[]> {
  checkApp('hammer: app', app)
  check.ensure(typeof request === 'function' || typeof request === 'string' || (typeof request === 'object' && request !== null), 'hammer: request', 'a path, an object for app.inject(), or a function that returns one of these', request)
  check.record('hammer', options, hammerOptionNames)
  const times = check.integer('hammer.times', options.times ?? 100, { min: 1 })
  const concurrency = check.integer('hammer.concurrency', options.concurrency ?? 10, { min: 1 })
  await app.ready()
  if (detector.isOn && !isInstrumented(app)) process.emitWarning('hammer(): no race can be found in this app: it was created before fastify-concurrency-race was loaded. Register the plugin in it')
  const responses: LightMyRequestResponse[] = []
  let next = 0
  async function client (): Promise<void> {
    for (let index = next++; index < times; index = next++) {
      responses[index] = await app.inject(typeof request === 'function' ? request(index) : request)
    }
  }
  await Promise.all(Array.from({ length: Math.min(concurrency, times) }, client))
  warnOfFailure('hammer()', new Set(responses.map(({ statusCode }) => statusCode)))
  return responses
}

/** Warns if no request was answered as it should be: a path with a typing error tests nothing, and finds no race. */
export function warnOfFailure (caller: string, statuses: ReadonlySet<number>): void {
  if ([...statuses].some((status) => status < 400)) return
  process.emitWarning(`${caller}: every request failed, with the status ${[...statuses].join(', ')}, so little was tested`)
}
