/**
 * Token buckets for requests and for code.
 *
 * The limiter guarantees that over any time t a key is granted at most burst + rate·t, in one process or, with Redis, in all processes
 * together; that other keys never free a limited key; and that a refused request takes no token of any policy. The limiter doesn't know who
 * is behind an address. While Redis is away, each process counts for itself unless the policy says otherwise.
 */
import fp from 'fastify-plugin'
import { addressReader } from '../shared/address-key.ts'
import type {
  ContextConfigDefault, FastifyInstance, FastifySchema, preHandlerAsyncHookHandler, preHandlerHookHandler, RouteGenericInterface, RouteOptions
} from 'fastify'
import cancellation from '../cancellation/index.ts'
import refusalLog, { refusalCounter } from '../shared/refusal-log.ts'
import { AddressChecks, checkCluster, checkPrepared, checkRateLimit, checkRoutes, ensureFree, printedRoutes, type PreparedRoute } from './boot-checks.ts'
import { registerRateLimit } from './compat/rate-limit.ts'
import { RouteLimits } from './compat/route-limit.ts'
import type { CheckRateLimit, CreateRateLimitOptions, RateLimitOptions, RouteRateLimitOptions } from './compat/types.ts'
import { Concurrency } from './concurrency/index.ts'
import { createDecide } from './decision.ts'
import { createLimiter, type Limiter } from './decorator.ts'
import { createHook, keepLast } from './hooks.ts'
import { LimitLedger } from './ledger.ts'
import { resolveOptions, type LimiterOptions, type ResolvedOptions } from './options.ts'
import { limitsByAddress } from './policies/resolve.ts'
import { ReplyCharges } from './reply-charges.ts'
import { isDecidedLast, RulesOfRoutes, type RouteLimiterOptions, type RouteWithConfig } from './route-rules.ts'
import { FallbackStore } from './stores/fallback.ts'
import { MemoryStore } from './stores/memory-store.ts'
import { RedisStore } from './stores/redis-store.ts'
import type { Store } from './stores/store.ts'
import { Waiters } from './waiting/waiters.ts'

export { definePolicies } from '../define-policies.ts'
export type { Register } from '../register.ts'
export type { LimitRefused } from './channels.ts'
export type { CheckRateLimit, CreateRateLimitOptions, RateLimitCheck, RateLimitOptions, RouteRateLimitOptions } from './compat/types.ts'
export type { RunLimitedOptions } from './concurrency/index.ts'
export type { ConcurrencyPolicy } from './concurrency/policy.ts'
export type { Limiter, Peek, Reservation, ReserveOptions, WaitOptions } from './decorator.ts'
export type { LimiterOptions } from './options.ts'
export type { KeyFunction } from './policies/keys.ts'
export type { HeaderKey, Period, Policies, Policy, PolicyName, RefusalOptions, Stage, Tiered } from './policies/policy.ts'
export type { Cost, RouteLimiterOptions } from './route-rules.ts'
export type { RedisClient } from './stores/redis-client.ts'
export type { Clock, Lockout, OnStoreError } from './stores/store.ts'

declare module 'fastify' {
  interface FastifyInstance<RawServer, RawRequest, RawReply, Logger, TypeProvider> {
    /** Limits for code, by the names of the policies: `allow`, `reserve`, `wait`, `peek`. */
    limiter: Limiter
    /**
     * Returns a hook that limits requests, besides the policies, as that of @fastify/rate-limit does. It is what is left for a handler of 404s,
     * and for hooks. Use a policy, or a route's `config.rateLimit`, for routes: their limits are decided together and cost less.
     */
    rateLimit<
      RouteGeneric extends RouteGenericInterface = RouteGenericInterface,
      ContextConfig = ContextConfigDefault,
      SchemaCompiler extends FastifySchema = FastifySchema
    > (options?: RateLimitOptions): preHandlerAsyncHookHandler<RawServer, RawRequest, RawReply, RouteGeneric, ContextConfig, SchemaCompiler, TypeProvider, Logger>
    /**
     * Returns a function that takes a token for a request, as that of @fastify/rate-limit does, and tells what is left. `increment: false` only
     * looks. Use `app.limiter.allow()` for a limit that has a policy.
     */
    createRateLimit (options?: CreateRateLimitOptions): CheckRateLimit
  }
  interface FastifyContextConfig {
    /** `false` exempts the route from all policies. An object sets the cost of its requests, further policies, and its answers to refusals. */
    limiter?: false | RouteLimiterOptions
    /**
     * A limit of the route's own in place of the policies for all routes, but for those with `always`. `false` leaves those policies out.
     * Where the types of @fastify/rate-limit are loaded too, the first of the two declarations counts.
     * @ts-ignore */
    rateLimit?: RouteRateLimitOptions | false
  }
}

function createStore ({ log }: FastifyInstance, ledger: LimitLedger, { redis, prefix, storeTimeout, maxKeys, clock }: ResolvedOptions): Store {
  const memory = new MemoryStore(clock, maxKeys)
  if (redis === undefined) return memory
  return new FallbackStore(new RedisStore(redis, prefix), memory, {
    timeout: storeTimeout,
    clock: performance,
    onFailed: (error) => ledger.storeFailed(error, log),
    onRecovered: (durationMs) => ledger.storeRecovered(durationMs, log)
  })
}

async function limiter (app: FastifyInstance, options: LimiterOptions): Promise<void> {
  const resolved = resolveOptions(options)
  const { policies, concurrencies, redis, ipv6Subnet, legacyHeaders, exemptAddresses, body, onExceeded } = resolved
  ensureFree(app)
  const addressChecks = new AddressChecks(app)
  for (const policy of policies.values()) if (limitsByAddress(policy)) addressChecks.add(policy.name)
  if (exemptAddresses !== undefined) addressChecks.add('allowList')
  checkCluster(app, redis !== undefined)

  const ledger = new LimitLedger(app.server)
  const store = createStore(app, ledger, resolved)
  const waiters = new Waiters(resolved.maxWaiting)
  const addressOf = addressReader(app)
  // Only waiting needs the request, to know whose client left.
  if (resolved.ambient) await app.register(cancellation, { ambient: true })
  await app.register(refusalLog)
  const concurrency = new Concurrency(concurrencies, {
    ledger,
    addressOf,
    policiesOf: (request) => rules.of(request).bounds
  })
  app.decorate('limiter', { ...createLimiter(app, resolved, store, waiters), run: concurrency.run })

  // Before the onRoute hook of @fastify/rate-limit, which would add a hook of its own to routes that have a config.rateLimit.
  app.addHook('onRoute', prepareRoute)
  const merge = await registerRateLimit(app, { store, ipv6Subnet, legacyHeaders, addressOf, onAddressKey: () => addressChecks.add('app.rateLimit()') })
  const routeLimits = new RouteLimits(merge, ipv6Subnet)
  const rules = new RulesOfRoutes(policies, concurrencies, (options, route) => {
    const policy = routeLimits.of(options, route)
    if (limitsByAddress(policy)) addressChecks.add(policy.name)
    return policy
  })
  const decide = createDecide({
    rules,
    store,
    addressOf,
    isExempt: exemptAddresses === undefined ? resolved.isExempt : (request) => exemptAddresses(addressOf(request))
  })
  const replyCharges = [...policies.values()].some(({ charge }) => charge !== undefined) ? new ReplyCharges() : undefined
  const answers = { ledger, legacyHeaders, body, onExceeded, replyCharges, countRefused: refusalCounter(app) }
  const onRequest = createHook('onRequest', decide, answers)
  const preHandler = createHook('preHandler', decide, answers)
  const lastBounds = concurrency.hook('preHandler')
  const early = isDecidedLast(rules.standard) ? printedRoutes(app).map(({ name }) => name) : []

  let scopes: FastifyInstance[] = [app]
  app.addHook('onRegister', (scope) => { scopes.push(scope) })
  let prepared: PreparedRoute[] = []
  function prepareRoute (route: RouteOptions & RouteWithConfig): void {
    const { config, rules: own } = rules.prepare(route)
    // A request that a rate refuses takes no permit.
    const last: preHandlerHookHandler[] = own.preHandler.length > 0 ? [preHandler] : []
    if (own.bounds.some(({ stage }) => stage === 'preHandler')) last.push(lastBounds)
    prepared.push({ route, limiter: config.limiter, rules: own, last })
    route.config = config as NonNullable<RouteOptions['config']>
    // Last, since an authentication that is a preHandler of the route runs before it.
    if (last.length > 0) keepLast(route, last)
  }

  app.addHook('onRequest', onRequest)
  if (replyCharges !== undefined) app.addHook('onSend', replyCharges.onSend)
  if (concurrencies.size > 0) app.addHook('preHandler', concurrency.hook(undefined))
  app.addHook('onReady', async () => {
    addressChecks.warn()
    checkRoutes(app, onRequest.name, prepared, early)
    checkPrepared(prepared, rules.standard)
    checkRateLimit(app, scopes)
    ledger.defined([...policies.keys(), ...concurrencies.keys()])
    prepared = []
    scopes = []
  })
  app.addHook('onClose', async () => {
    waiters.close()
    concurrency.close()
  })
}

/** The Fastify plugin of rate limits, `app.limiter`. Register it alone if you use nothing else of the suite. */
export default fp(limiter, { name: 'fastify-concurrency/limiter', fastify: '5.x' })
