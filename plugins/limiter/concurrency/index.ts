/** The policies that bound concurrency, for requests and for code. */
import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction, onRequestHookHandler } from 'fastify'
import { currentRequest } from '../../cancellation/index.ts'
import { timeLeft } from '../../cancellation/handler-timeout.ts'
import { endingWith } from '../../cancellation/unawaited.ts'
import { LimitBusyError, LimitKeyMissingError, LimitUnknownError } from '../../shared/errors.ts'
import { addressKey } from '../../shared/address-key.ts'
import { isRefusal } from '../../shared/coded-error.ts'
import { onWorkEnded } from '../../shared/http/request-work.ts'
import { fn, record, text } from '../../shared/options.ts'
import { asError, isPromise, type MaybePromise } from '../functions.ts'
import type { LimitLedger } from '../ledger.ts'
import { checkedKey } from '../policies/keys.ts'
import type { PolicyName } from '../policies/policy.ts'
import { endsOf, untilEnded } from '../wait-ends.ts'
import { Bound, type AcquireSettings, type Release } from './bound.ts'
import type { ResolvedConcurrency } from './policy.ts'

/** Options of `limiter.run()`. */
export interface RunLimitedOptions {
  /**
   * Whose bound it is: a tenant, say.
   * @default '': calls without a key share one bound
   */
  key?: string
  /** Ends the wait. The function isn't interrupted: give it the signal too. */
  signal?: AbortSignal
  /**
   * Goes on waiting when the client of the current request leaves.
   * @default false
   */
  detached?: boolean
}

/** Runs a function within the bound of a policy. */
export type RunLimited = <Result>(
  policy: PolicyName, run: () => Result | PromiseLike<Result>, options?: RunLimitedOptions
) => Promise<Result>

interface Settings {
  ledger: LimitLedger
  addressOf: (request: FastifyRequest) => string
  /** The policies of the request's route. */
  policiesOf: (request: FastifyRequest) => readonly ResolvedConcurrency[]
}

export class Concurrency {
  readonly #bounds: ReadonlyMap<string, Bound>
  readonly #settings: Settings

  constructor (policies: ReadonlyMap<string, ResolvedConcurrency>, settings: Settings) {
    this.#bounds = new Map([...policies].map(([name, policy]) => [name, new Bound(policy)]))
    this.#settings = settings
    for (const [name, bound] of this.#bounds) settings.ledger.bounded(name, () => bound.stats)
  }

  readonly run: RunLimited = (name, run, options = {}) => {
    const request = currentRequest()
    return endingWith(request, async () => {
      const bound = this.#bounds.get(name)
      if (bound === undefined) throw new LimitUnknownError(name, [...this.#bounds.keys()])
      fn('run', run)
      record('options', options, ['key', 'signal', 'detached'])
      const { owner, signals } = endsOf(options, request)
      const settings = {
        key: options.key === undefined ? '' : text('key', options.key),
        client: request === undefined ? '' : this.#clientOf(request),
        deadline: deadlineOf(owner),
        signals
      }
      const release = await untilEnded(name, signals, () => this.#acquire(name, bound, request, settings))
      try {
        return await run()
      } finally {
        release()
      }
    })
  }

  /**
   * Makes the hook of a stage. It is a preHandler, so that a request that is still to wait for the event loop, or for
   * its body, holds no permit. A permit is given back when the response and the handler have ended.
   */
  hook (stage: ResolvedConcurrency['stage']): onRequestHookHandler {
    /** Requests that have begun to acquire their permits. */
    const acquiring = new WeakSet<FastifyRequest>()
    const hook = (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void => {
      const policies = this.#settings.policiesOf(request).filter((policy) => policy.stage === stage)
      // reply.callNotFound() runs the hooks again: a request that waited for a second permit would wait for itself.
      if (policies.length === 0 || acquiring.has(request)) return done()
      acquiring.add(request)
      const releases: Release[] = []
      const release = (): void => { for (const each of releases.splice(0)) each() }
      const gone = new AbortController()
      let isOver = false
      onWorkEnded(request, reply, () => {
        isOver = true
        gone.abort()
        release()
      })
      const fail = (error: unknown): void => {
        release()
        // Nobody is left who could be told.
        if (!isOver || isRefusal(error)) done(asError(error))
      }
      const acquire = (index: number): MaybePromise<void> => {
        const policy = policies[index]
        if (policy === undefined) return
        const acquired = this.#acquire(policy.name, this.#bounds.get(policy.name)!, request, {
          key: keyOf(policy, request),
          client: this.#clientOf(request),
          deadline: deadlineOf(request),
          signals: [gone.signal]
        })
        const next = (own: Release): MaybePromise<void> => {
          releases.push(own)
          return acquire(index + 1)
        }
        return isPromise(acquired) ? acquired.then(next) : next(acquired)
      }
      try {
        const acquired = acquire(0)
        if (isPromise(acquired)) acquired.then(() => isOver ? release() : done(), fail)
        else done()
      } catch (error) {
        fail(error)
      }
    }
    return Object.defineProperty(hook, 'name', { value: 'limitConcurrency' })
  }

  close (): void {
    for (const bound of this.#bounds.values()) bound.close()
  }

  /** Acquires a permit, and counts what has become of the wait. */
  #acquire (
    policy: string, bound: Bound, request: FastifyRequest | undefined, settings: AcquireSettings
  ): MaybePromise<Release> {
    const { ledger } = this.#settings
    const began = performance.now()
    const granted = (release: Release): Release => {
      ledger.permitted(policy, settings.key, performance.now() - began)
      return release
    }
    const failed = (error: unknown): never => {
      if (error instanceof LimitBusyError) ledger.busy(error, settings.key, request)
      throw error
    }
    try {
      const acquired = bound.acquire(settings)
      return isPromise(acquired) ? acquired.then(granted, failed) : granted(acquired)
    } catch (error) {
      return failed(error)
    }
  }

  #clientOf (request: FastifyRequest): string {
    return addressKey(this.#settings.addressOf(request))
  }
}

function keyOf ({ name, key }: ResolvedConcurrency, request: FastifyRequest): string {
  if (key === undefined) return ''
  const found = checkedKey(name, key(request))
  // Requests without a key must not share a bound, in which those of all tenants would wait for each other.
  if (found === undefined) throw new LimitKeyMissingError(name)
  return found
}

/** Returns the instant after which the request can't be answered any more: that of its handlerTimeout. */
function deadlineOf (request: FastifyRequest | undefined): number {
  return request === undefined ? Infinity : performance.now() + timeLeft(request)
}
