/**
 * The types of what users of @fastify/rate-limit know. They are written here, because those of the package have options that the limiter
 * refuses, such as `ban`: a wrong option is to fail the compiler, not the boot.
 */
import type { FastifyRequest } from 'fastify'

/** A value for all requests, or a function of the request and its key. */
type PerRequest<T> = T | ((request: FastifyRequest, key: string) => T | Promise<T>)

/** Options of @fastify/rate-limit that the limiter refuses. Fastify's types let a route's config have properties that nobody knows. */
type Refused = Partial<Record<'ban' | 'onBanReach' | 'continueExceeding' | 'exponentialBackoff' | 'cache' | 'store', never>>
type RefusedOfRoutes = Partial<Record<'errorResponseBuilder' | 'onExceeding' | 'onExceeded' | 'enableDraftSpec' | 'addHeaders', never>>

/** The options of `app.createRateLimit()`. */
export interface CreateRateLimitOptions extends Refused {
  /**
   * The burst of the bucket, and how many tokens flow back over `timeWindow`.
   * @default 1_000
   */
  max?: PerRequest<number>
  /**
   * Milliseconds, or a text like `'1 minute'`; a function returns milliseconds.
   * @default '1 minute'
   */
  timeWindow?: string | PerRequest<number>
  /**
   * Returns whose bucket a request takes from.
   * @default the client's address
   */
  keyGenerator?: (request: FastifyRequest) => string | number | Promise<string | number>
  /** Keys that have no limit: addresses, and networks like `'10.0.0.0/8'`, if the key is the address. */
  allowList?: readonly string[] | ((request: FastifyRequest, key: string) => boolean | Promise<boolean>)
  /**
   * How many leading bits of an IPv6 address make the key.
   * @default the limiter's `ipv6Subnet`
   */
  ipv6Subnet?: number
  /** In a route's `config.rateLimit`, whether requests pass while Redis is away. Without it, each process limits in its own memory. */
  skipOnError?: boolean
}

/**
 * The options of a route's `config.rateLimit`, whose limit stands in place of the policies for all routes. Give the limit a policy of its
 * own, and the route its name in `config.limiter.policies`, if you need more than these options.
 */
export interface RouteRateLimitOptions extends CreateRateLimitOptions, RefusedOfRoutes {
  /**
   * When the limit is checked; `preParsing` and `preValidation` mean `preHandler`.
   * @default 'onRequest'
   */
  hook?: 'onRequest' | 'preParsing' | 'preValidation' | 'preHandler'
  /** The routes of a group share one bucket, and have the same options. */
  groupId?: string
}

/** The options of `app.rateLimit()`. */
export interface RateLimitOptions extends CreateRateLimitOptions {
  /** Text that is added to the keys. */
  groupId?: string
  /** Returns what is thrown in place of FC_ERR_LIMITED. */
  errorResponseBuilder?: (request: FastifyRequest, context: { statusCode: number, ban: boolean, after: string, max: number, ttl: number }) => object
  /** Called for each request that is granted. */
  onExceeding?: (request: FastifyRequest, key: string) => void
  /** Called for each request that is refused. */
  onExceeded?: (request: FastifyRequest, key: string) => void
  /** Names the fields of the response as the second draft of the standard did. */
  enableDraftSpec?: boolean
}

/** What the function of `app.createRateLimit()` resolves with: `isAllowed` is true for a key without a limit. */
export type RateLimitCheck = { isAllowed: true, key: string } | {
  isAllowed: false
  key: string
  max: number
  timeWindow: number
  /** Tokens left. */
  remaining: number
  /** How many ms until the bucket is full, or until a refused request would be granted. */
  ttl: number
  ttlInSeconds: number
  /** Whether the request is refused. */
  isExceeded: boolean
  /** Always false: a policy's `lockout` takes the place of `ban`. */
  isBanned: boolean
}

/** Takes a token for a request; with `increment: false` it only looks. */
export type CheckRateLimit = (request: FastifyRequest, options?: { increment?: boolean }) => Promise<RateLimitCheck>
