/** A policy, as an application states it. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { LimitedError } from '../../shared/errors.ts'
import type { Register } from '../../register.ts'
import type { LimitRefused } from '../channels.ts'
import type { ConcurrencyPolicy } from '../concurrency/policy.ts'
import type { MaybePromise } from '../functions.ts'
import type { Lockout, OnStoreError } from '../stores/store.ts'
import type { KeyFunction } from './keys.ts'

/**
 * A number, or a function that returns one, so that plans differ. The function may be asynchronous.
 *
 * `key` is the request's key as it came, or the client's address if the request has no key and `missingKey` is `'address'`.
 * `request` is undefined when code outside a request calls `app.limiter`: a task, a timer, a test.
 */
export type Tiered = number | ((key: string, request: FastifyRequest | undefined) => MaybePromise<number>)

/** When a policy is checked: as soon as the headers are there, or after authentication, before the handler. */
export type Stage = 'onRequest' | 'preHandler'

/** The time that a rate refers to. */
export type Period = 'second' | 'minute' | 'hour' | 'day'

/**
 * A header as the key. A client can send a new value with each request, and gets a fresh bucket for each. State which values are `known`,
 * or limit by address as well.
 */
export interface HeaderKey {
  /** The name of the header, in any case. */
  header: string
  /**
   * The keys that exist, or a function that tells whether a key does; it may be asynchronous. A request with any other key is treated as a
   * request without a key, as `missingKey` says. Without `known`, every value is a key.
   */
  known?: readonly string[] | ((key: string, request: FastifyRequest) => MaybePromise<boolean>)
}

/** What happens when a request is refused. The route's own option is used first, then the policy's, then the limiter's. */
export interface RefusalOptions {
  /** Makes the body of a 429; it may be asynchronous. `error.policy` is undefined if the policy isn't exposed. */
  body?: (request: FastifyRequest, error: LimitedError) => unknown
  /**
   * Called for each refused request, before its answer is sent. The answer waits for the function if it is asynchronous. If it throws, the
   * request fails with that error. To count or to log refusals, prefer the channel `fastify-concurrency:limiter:refused`.
   */
  onExceeded?: (request: FastifyRequest, refusal: LimitRefused) => unknown
}

export interface Policy extends RefusalOptions {
  /** Tokens that flow back in each period, above 0; `Infinity` is no limit. */
  rate: Tiered
  /**
   * The period that `rate` refers to. Tokens flow back steadily, not at the end of the period.
   * @default 'second'
   */
  per?: Period
  /** Tokens that a full bucket holds, a whole number from 1 to 1e9: how many requests may come at once. */
  burst: Tiered
  /**
   * Whose bucket a request takes from: that of the client's address (`'address'`, IPv6 by prefix), of a header, or of what a function
   * returns. Without a key the whole service shares one bucket.
   *
   * `{ header: 'x-api-key' }` alone is not a limit, because a client can invent a new key for each request. State the known keys too:
   * `{ header: 'x-api-key', known: (key) => plans.has(key) }`.
   */
  key?: 'address' | HeaderKey | KeyFunction
  /**
   * When the policy is checked. Use `preHandler` for a key that is known only after authentication.
   * @default 'onRequest'
   */
  stage?: Stage
  /**
   * Which routes the policy applies to: all, or those that name it in `config.limiter.policies`. Use `named` also for a policy that only
   * code asks for.
   * @default 'all'
   */
  routes?: 'all' | 'named'
  /**
   * What a request without a key gets: a 401, or a bucket of its address. It never bypasses the limit.
   * @default 'reject'
   */
  missingKey?: 'reject' | 'address'
  /**
   * Keys that aren't limited, or a function that tells whether a key is exempt; `request` is undefined in calls outside a request. For a
   * policy by address the list holds addresses, and networks like `'10.0.0.0/8'`: an IPv6 address on the list exempts that address only, not
   * its prefix.
   */
  allowList?: readonly string[] | ((key: string, request: FastifyRequest | undefined) => MaybePromise<boolean>)
  /**
   * Decides, when the reply is known, how many of its tokens a request pays: a whole number from 0 to its cost. The function may be asynchronous.
   * Use `charge` for a limit of failures, like wrong passwords: `charge: (request, reply) => reply.statusCode === 401 ? 1 : 0`.
   *
   * The request takes its whole cost before its handler runs, and gets the rest back before its reply is sent. So at most `burst` requests of a
   * key are in flight at once, and however many try together, no more than the limit can fail. A request pays in full if its client leaves before
   * the reply, and if the handler takes the response over (`reply.hijack()`). Calls of `app.limiter` pay at once, without `charge`.
   * @default requests pay their cost
   */
  charge?: (request: FastifyRequest, reply: FastifyReply) => MaybePromise<number>
  /**
   * Refuses a key for `duration` ms after `after` refusals, whatever flows back meanwhile. Use a lockout against clients that try again and
   * again, for example with passwords. Refusals are counted until the bucket is full again; refusals during the lockout don't prolong it.
   * `after` is a whole number of at least 1, `duration` at least 1 ms.
   * @default no lockout
   */
  lockout?: Lockout
  /**
   * What happens while Redis is away: `local` limits in this process's memory, `open` lets all requests pass, `closed` answers 503.
   * @default 'local'; with a lockout `'closed'`, since a process of its own knows of no lockout
   */
  onStoreError?: OnStoreError
  /**
   * Whether responses name the policy: in `RateLimit`, `RateLimit-Policy` and the body of a 429. Use false for a limit that isn't the
   * client's business.
   * @default true
   */
  expose?: boolean
  /**
   * Whether the policy applies to routes that have a limit of their own, or leave policies out, too: for a limit that protects the service. Such a
   * policy yields to `config.limiter: false` only.
   * @default false
   */
  always?: boolean
}

/** Each policy is a token bucket, or bounds how many run at a time. */
export type Policies = Readonly<Record<string, Policy | ConcurrencyPolicy>>

/** The names of the registered policies; any string until the application augments `Register`. */
export type PolicyName = Register extends { policies: infer P } ? Extract<keyof P, string> : string

/** @internal Every option, for the test that compares them with the docs. */
export const policyOptionNames = [
  'rate', 'per', 'burst', 'key', 'stage', 'routes', 'missingKey', 'allowList', 'charge', 'lockout', 'onStoreError', 'expose', 'always', 'body', 'onExceeded'
] as const satisfies ReadonlyArray<keyof Policy>
