/**
 * The ledger of the loop: what became of requests and what held the loop, as it is counted, published and logged. It
 * decides nothing.
 */
import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import { originOf } from '../cancellation/origin.ts'
import { countsOf, LoopCounts, type LoopView } from '../core/ledger/counts.ts'
import { writesDebug } from '../core/ledger/ledger.ts'
import { logSafely } from '../shared/log.ts'
import { loopRefused, loopStalled } from './channels.ts'
import type { LoopRefusal } from './gate.ts'
import type { Stall } from './pump.ts'
import type { Route } from './routes.ts'

/** The time between two lines about stalls of a route, in ms. */
const PERIOD_MS = 1_000

export class LoopLedger {
  readonly #server: object
  readonly #log: FastifyBaseLogger
  readonly counts: LoopCounts
  /** When the last line about a route was written; undefined for stalls of no route. */
  readonly #saidAt = new Map<Route | undefined, number>()

  constructor (server: object, log: FastifyBaseLogger, view: LoopView) {
    this.#server = server
    this.#log = log
    this.counts = countsOf(server).loop = new LoopCounts(view)
  }

  started (waited: number): void {
    this.counts.held++
    this.counts.wait.record(waited)
  }

  refused (refusal: LoopRefusal, request: FastifyRequest, key: string): void {
    this.counts.refused[refusal.reason]++
    if (loopRefused.hasSubscribers) loopRefused.publish({ server: this.#server, ...originOf(request), ...refusal, key })
    if (writesDebug(request.log)) logSafely(request.log, 'debug', { ...refusal }, 'request refused: the event loop is overloaded')
  }

  stalled ({ ms, part, route, sure }: Stall, requestId: string | undefined, now: number): void {
    if (route !== undefined) route.stalls++
    else this.counts.stalls++
    if (loopStalled.hasSubscribers) {
      loopStalled.publish({ server: this.#server, ms, part, route: route?.name, requestId, sure })
    }
    if (now - (this.#saidAt.get(route) ?? -Infinity) < PERIOD_MS) return
    this.#saidAt.set(route, now)
    const message = route === undefined
      ? 'the event loop was held, and not by a handler'
      : sure ? 'a handler held the event loop' : 'the event loop was held, perhaps by a handler'
    logSafely(this.#log, 'warn', { route: route?.name, part, ms: Math.round(ms), sure, reqId: requestId }, message)
  }
}
