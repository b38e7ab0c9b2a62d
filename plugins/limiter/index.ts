/**
 * Token buckets for requests and for code.
 *
 * Guarantees: over any time t a key is granted at most burst + rate·t, in one process or, with Redis, in all of them together; a limited
 * key is never freed by other keys; a refused request takes no token of any policy. It doesn't tell who is behind an address, and while
 * Redis is away each process counts for itself unless the policy says otherwise.
 */
import fp from 'fastify-plugin'
import type { FastifyInstance, FastifyReply, FastifyRequest, HookHandlerDoneFunction, preHandlerHookHandler, RouteOptions } from 'fastify'
import cancellation from '../cancellation/index.ts'
import { monotonic } from '../shared/clock.ts'
import { watchForwarded } from '../shared/forwarded.ts'
import { ensure } from '../shared/options.ts'
import refusalLog, { countRefusal } from '../shared/refusal-log.ts'
import { createLimiter, type Limiter } from './calls.ts'
import { storeFailed, storeRecovered } from './channels.ts'
import { FallbackStore } from './stores/fallback.ts'
import { AddressChecks, checkCluster, checkPrepared, checkRoutes, limitsByAddress, type PreparedRoute } from './boot-checks.ts'
import { decide, type Judge } from './http.ts'
import type { AddressOf } from './keys.ts'
import { after } from './maybe.ts'
import { MemoryStore } from './stores/memory-store.ts'
import { resolveOptions, type LimiterOptions, type ResolvedOptions } from './options.ts'
import { createPlanner, decidePlan, type Plan } from './plan.ts'
import { addressKeyOf, registerRateLimit } from './compat/rate-limit.ts'
import { RedisStore } from './stores/redis-store.ts'
import { RouteLimits } from './compat/route-limit.ts'
import { Recipes, type RouteConfig, type RouteLimiterOptions, type RouteWithConfig } from './routes.ts'
import type { Store } from './stores/store.ts'
import { Waiters } from './waiters.ts'

export { definePolicies } from '../shared/define-policies.ts'
export type { Limiter, Peek, Reservation, ReserveOptions, WaitOptions } from './calls.ts'
export type { LimiterOptions } from './options.ts'
export type { Policies, Policy, PolicyName } from './policies.ts'
export type { RedisClient } from './stores/redis-store.ts'
export type { RouteLimiterOptions } from './routes.ts'
export type { Register } from '../shared/register.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The policies for code: allow, reserve, wait, peek. */
    limiter: Limiter
  }
  interface FastifyContextConfig {
    /** False: this route isn't limited. Else what its requests cost, and further policies. */
    limiter?: false | RouteLimiterOptions
  }
}

function createStore (app: FastifyInstance, { redis, prefix, storeTimeout, maxKeys, clock }: ResolvedOptions): Store {
  const memory = new MemoryStore(clock, maxKeys)
  if (redis === undefined) return memory
  return new FallbackStore(new RedisStore(redis, prefix), memory, {
    timeout: storeTimeout,
    clock: monotonic,
    onFailed: (error) => {
      app.log.error({ err: error }, 'limiter: Redis is away, each policy decides as its onStoreError says')
      storeFailed.publish({ error })
    },
    onRecovered: (afterMs) => {
      app.log.info({ afterMs }, 'limiter: Redis is back')
      storeRecovered.publish({ afterMs })
    }
  })
}

/** Keeps the hook on the route, last unless a later plugin adds another one, even if an onRoute hook replaces `preHandler`. */
function keepLast (route: RouteOptions, hook: preHandlerHookHandler): void {
  let hooks: preHandlerHookHandler[]
  const set = (value: RouteOptions['preHandler']): void => {
    hooks = [value ?? []].flat() as preHandlerHookHandler[]
    if (!hooks.includes(hook)) hooks.push(hook)
  }
  set(route.preHandler)
  Object.defineProperty(route, 'preHandler', { get: () => hooks, set, enumerable: true, configurable: true })
}

/** The limiters of all apps, to tell one from a decorator of the application's own. */
const limiters = new WeakSet<object>()

async function limiter (app: FastifyInstance, options: LimiterOptions): Promise<void> {
  const resolved = resolveOptions(options)
  const present = app.hasDecorator('limiter') ? app.getDecorator<object>('limiter') : undefined
  ensure(present === undefined || !limiters.has(present), 'limiter', 'to be registered once', 'a second registration')
  ensure(!app.hasDecorator('limiter'), 'limiter', 'no decorator of that name before its registration', 'a decorator of your own')
  for (const name of ['createRateLimit', 'rateLimit']) {
    ensure(!app.hasDecorator(name), '@fastify/rate-limit', 'to be registered by the limiter only', `a registration, or a decorator "${name}", of your own`)
  }
  const addressChecks = new AddressChecks(app)
  for (const policy of resolved.policies.values()) if (limitsByAddress(policy)) addressChecks.add(policy.name)
  if (resolved.exemptAddresses !== undefined) addressChecks.add('allowList')
  checkCluster(app, resolved.redis !== undefined)

  const { ipv6Subnet, legacyHeaders, exemptAddresses } = resolved
  const store = createStore(app, resolved)
  const waiters = new Waiters(resolved.maxWaiting)
  const addressKey = addressKeyOf(ipv6Subnet)
  const watch = watchForwarded(app)
  const addressOf: AddressOf = (request) => {
    watch(request)
    return request.ip
  }
  // Only waiting needs it, to know whose client left.
  if (resolved.ambient) await app.register(cancellation, { ambient: true })
  await app.register(refusalLog)
  const decorator = createLimiter(resolved.policies, store, waiters, addressKey, resolved)
  limiters.add(decorator)
  app.decorate('limiter', decorator)

  // Before that of @fastify/rate-limit, which would add a hook of its own to routes that have a config.rateLimit.
  app.addHook('onRoute', prepareRoute)
  const merge = await registerRateLimit(app, { store, ipv6Subnet, legacyHeaders, addressOf, onAddressKey: () => addressChecks.add('app.rateLimit()') })
  const routeLimits = new RouteLimits(merge)
  const recipes = new Recipes(resolved.policies, (options, route) => {
    const policy = routeLimits.of(options, route)
    if (limitsByAddress(policy)) addressChecks.add(policy.name)
    return policy
  })
  const plan = createPlanner({
    recipeOf: (request) => recipes.of(request.routeOptions.config as RouteConfig),
    addressOf,
    addressKey,
    isExempt: exemptAddresses === undefined ? resolved.isExempt : (request) => exemptAddresses(addressOf(request))
  })
  const judged = new WeakMap<FastifyRequest, Plan>()
  const judge: Judge = (stage, request) => after(plan(stage, request), (plan) => {
    if (stage === 'preHandler') plan.earlier = judged.get(request)
    else if (plan.demands.length > 0 && plan.recipe.policies.preHandler.length > 0) judged.set(request, plan)
    return decidePlan(plan, store)
  })
  /** The requests whose preHandler stage was decided: if another plugin has wrapped the hook of a route, it may run twice. */
  const passed = new WeakSet<FastifyRequest>()
  const answers = { legacyHeaders, body: resolved.body, onRefused: (code: string) => countRefusal(app, code) }

  // Named functions: their names are how a route that escapes is told from one that doesn't.
  function limiterOnRequest (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void {
    decide('onRequest', judge, answers, request, reply, done)
  }
  function limiterPreHandler (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void {
    if (passed.has(request)) return done()
    passed.add(request)
    decide('preHandler', judge, answers, request, reply, done)
  }
  const hooks: string[] = [limiterOnRequest.name]
  if (recipes.standard.policies.preHandler.length > 0) hooks.push(limiterPreHandler.name)

  let prepared: PreparedRoute[] = []
  function prepareRoute (route: RouteOptions): void {
    const { config, recipe } = recipes.prepare(route as RouteWithConfig)
    prepared.push({ route: route as RouteWithConfig, limiter: config.limiter, recipe })
    route.config = config as NonNullable<RouteOptions['config']>
    // Last, since an authentication that is a preHandler of the route runs before it.
    if (hooks.length > 1 || recipe.policies.preHandler.length > 0) keepLast(route, limiterPreHandler)
  }

  app.addHook('onRequest', limiterOnRequest)
  app.addHook('onReady', async () => {
    addressChecks.warn()
    checkRoutes(app, hooks, prepared)
    checkPrepared(prepared, recipes.standard, limiterPreHandler)
    prepared = []
  })
  app.addHook('onClose', async () => waiters.close())
}

export default fp(limiter, { name: 'fastify-concurrency/limiter', fastify: '5.x' })
