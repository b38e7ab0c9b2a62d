/**
 * The hooks of a request. The onRequest hook holds a request by not calling `done` yet: nothing is wrapped, and what
 * the hooks before it have set up stays as it is. Of a request with a body, Node reads a part meanwhile, and the rest
 * stays in the kernel.
 */
import { AsyncResource } from 'node:async_hooks'
import { performance } from 'node:perf_hooks'
import type { FastifyInstance, FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import { addressKey, addressReader } from '../shared/address-key.ts'
import { LoopOverloadedError } from '../shared/errors.ts'
import { endUpgrade } from '../shared/http/end-upgrade.ts'
import { heldRequests } from '../shared/http/request-work.ts'
import { hasBegun, hasEnded } from '../shared/http/response.ts'
import { sendError } from '../shared/http/send-error.ts'
import { onClosed } from '../shared/http/sockets.ts'
import { logSafely } from '../shared/log.ts'
import { refusalCounter } from '../shared/refusal-log.ts'
import { Gate, HeldEntry, type LoopRefusal, type Started } from './gate.ts'
import { LoopLedger } from './ledger.ts'
import type { ResolvedLoopOptions } from './options.ts'
import { Pump, type EventLoop } from './pump.ts'
import { RulesOfRoutes, type RouteRules } from './route-rules.ts'

/** What Node tells of its loop; Node 20.18 and later. */
const timing = performance.nodeTiming as typeof performance.nodeTiming & { uvMetricsInfo: { loopCount: number } }

const eventLoop: EventLoop = {
  now: () => performance.now(),
  idle: () => timing.idleTime,
  turns: () => timing.uvMetricsInfo.loopCount,
  turn: (fn) => { setImmediate(fn) },
  soon: (fn) => { process.nextTick(fn) },
  after: (ms, fn) => { setTimeout(fn, Math.ceil(ms)) }
}

class HeldRequest extends HeldEntry {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly done: HookHandlerDoneFunction
  /** The pump runs in the context of another request, so each request continues in a context of its own. */
  readonly context = new AsyncResource('fastify-concurrency.loop')

  constructor (
    { route, priority }: RouteRules, client: string,
    request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction
  ) {
    super(route, client, priority)
    this.request = request
    this.reply = reply
    this.done = done
  }
}

const kStarted = Symbol('fastify-concurrency.loop.started')

declare module 'fastify' {
  interface FastifyRequest {
    /** @internal Null before the request has started; undefined if Fastify made it without decorators. */
    [kStarted]?: Started | null
  }
}

export class LoopHooks {
  readonly gate: Gate<HeldRequest>
  readonly #rules: RulesOfRoutes
  readonly #pump: Pump<HeldRequest>
  readonly #ledger: LoopLedger
  readonly #key: ResolvedLoopOptions['key']
  readonly #log: FastifyInstance['log']
  readonly #addressOf: (request: FastifyRequest) => string
  readonly #countRefused: ReturnType<typeof refusalCounter>
  #hasWarned = false

  constructor (app: FastifyInstance, options: ResolvedLoopOptions) {
    const { now, idle } = eventLoop
    this.gate = new Gate<HeldRequest>(options, now(), idle(), (entry, refusal) => this.#shed(entry, refusal))
    this.#rules = new RulesOfRoutes(this.gate.routes)
    this.#ledger = new LoopLedger(app.server, app.log, {
      gauges: () => ({ held: this.gate.held, waitLimit: this.gate.limit }),
      routes: () => this.gate.routes.costs()
    })
    this.#pump = new Pump(this.gate, eventLoop, (entry) => this.#start(entry), options.slow, (stall) => {
      this.#ledger.stalled(stall, this.#requestIdOf(stall.started), eventLoop.now())
    })
    this.#key = options.key
    this.#log = app.log
    this.#addressOf = addressReader(app)
    this.#countRefused = refusalCounter(app)
    app.decorateRequest(kStarted, null)
  }

  get counts (): LoopLedger['counts'] {
    return this.#ledger.counts
  }

  /** Forgets what the loop did so far: a boot isn't a stall. */
  readonly ready = (): void => {
    this.gate.time.mark(eventLoop.now(), eventLoop.idle())
  }

  /** A connection was accepted. */
  readonly connected = (): void => this.gate.connected()

  readonly onRequest = (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void => {
    const now = this.#pump.arrived()
    const rules = this.#rules.of(request)
    if (rules.isExempt || this.#pump.passes(rules.route, now)) {
      this.counts.passed++
      const started = request[kStarted] = this.gate.pass(rules.route, now)
      return this.#run(started, reply, done)
    }
    const entry = new HeldRequest(rules, this.#keyOf(rules, request), request, reply, done)
    const refusal = this.#pump.hold(entry, now)
    if (refusal !== undefined) return this.#refuse(entry, refusal)
    heldRequests.add(request)
    onClosed(reply, () => this.#closed(entry))
  }

  readonly onSend = (request: FastifyRequest, _reply: FastifyReply, _payload: unknown, done: () => void): void => {
    const started = request[kStarted]
    if (started != null) this.#pump.answered(started)
    done()
  }

  #run (started: Started, reply: FastifyReply, code: () => void): void {
    this.#pump.run(started, code)
    // A hijacked reply passes no onSend hook.
    if (!started.isSent && reply.sent) this.#pump.answered(started)
  }

  #start (entry: HeldRequest): void {
    const { request, reply, done, context, since } = entry
    heldRequests.delete(request)
    // Fastify has answered in the place of the handler, after handlerTimeout.
    if (reply.sent) return this.gate.drop(entry)
    this.#ledger.started(eventLoop.now() - since)
    this.#pump.begin(entry, (started) => {
      request[kStarted] = started
      this.#run(started, reply, () => context.runInAsyncScope(done))
    })
  }

  /** The response has ended, or its client has left. */
  #closed (entry: HeldRequest): void {
    if (entry.state === 'taken' && hasEnded(entry.reply)) return
    // After handlerTimeout, Fastify has answered it.
    if (this.gate.leave(entry, eventLoop.now()) && !hasBegun(entry.reply)) this.counts.left++
  }

  #shed (entry: HeldRequest, refusal: LoopRefusal): void {
    heldRequests.delete(entry.request)
    if (!entry.reply.sent) entry.context.runInAsyncScope(() => this.#refuse(entry, refusal))
  }

  /** Answers a refusal here, without throwing it. */
  #refuse ({ request, reply, owner = '' }: HeldRequest, refusal: LoopRefusal): void {
    this.#ledger.refused(refusal, request, owner)
    const error = new LoopOverloadedError(refusal)
    endUpgrade(request, reply)
    this.#countRefused({ code: error.code, reason: refusal.reason })
    reply.header('cache-control', 'no-store').header('retry-after', String(refusal.retryAfter))
    sendError(reply, error)
  }

  /**
   * A request whose key can't be had is one of its address: who isn't served in an overload must not depend on an
   * error.
   */
  #keyOf ({ key = this.#key }: RouteRules, request: FastifyRequest): string {
    if (key !== undefined) {
      try {
        const own: unknown = key(request)
        if (typeof own === 'string' && own !== '') return own
        // An asynchronous function may reject, which nobody would handle.
        if (own instanceof Promise) own.catch(() => {})
        this.#warn({ received: own instanceof Promise ? 'a promise' : typeof own })
      } catch (err) {
        this.#warn({ err })
      }
    }
    return addressKey(this.#addressOf(request))
  }

  #warn (fields: { err?: unknown, received?: string }): void {
    if (this.#hasWarned) return
    this.#hasWarned = true
    logSafely(this.#log, 'warn', fields, 'loop: a key function gave no string, so the request counts as one of its address; further ones are not logged')
  }

  #requestIdOf (started: Started | undefined): string | undefined {
    return (started?.entry as HeldRequest | undefined)?.request.id
  }
}
