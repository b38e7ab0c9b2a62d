/**
 * The admission of the event loop: requests start at the rate at which the loop can do their work, so that at any load
 * most of that work is for clients that still wait, and probes are answered.
 *
 * The plugin guarantees that a request is held or refused before its handler and never in the midst of it, that keys
 * share the loop by the time that they take, and that nothing is refused while nothing has waited in vain. It can't
 * interrupt a handler: one that computes for a second holds everybody up for a second, and the log names it.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import fp from 'fastify-plugin'
import type { FastifyInstance } from 'fastify'
import { ensure } from '../shared/options.ts'
import refusalLog from '../shared/refusal-log.ts'
import type { RouteCost } from '../core/ledger/counts.ts'
import type { LoopRefusalReason } from '../shared/errors.ts'
import { LoopHooks } from './hooks.ts'
import { resolveOptions, type LoopOptions } from './options.ts'
import { checkRoute, type RouteLoopOptions } from './route-rules.ts'

export type { RouteCost } from '../core/ledger/counts.ts'
export type { LoopRefusalReason } from '../shared/errors.ts'
export type { LoopOptions } from './options.ts'
export type { RouteLoopOptions } from './route-rules.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** What the admission of the event loop has done, and what each route costs the loop. */
    loop: Loop
  }
  interface FastifyContextConfig {
    /**
     * `false`: requests of the route are never held and never refused. An object says whose they are, and how they are
     * weighed.
     */
    loop?: false | RouteLoopOptions
  }
}

/** The admission of the event loop, `app.loop`. */
export interface Loop {
  /** Returns the counts since the start. */
  stats (): LoopStats
}

/** What the admission of the event loop has decided, since the start of the application. */
export interface LoopStats {
  /** Requests that are held now. */
  held: number
  /** How long a request may wait in an overload, in ms. Without an overload only `maxWait` counts. */
  waitLimit: number
  /** Requests that started at once. */
  passed: number
  /** Requests that were held and then started. */
  started: number
  /** Requests whose clients left while they were held. */
  left: number
  /** Refused requests, by reason. */
  refused: Record<LoopRefusalReason, number>
  /** What the routes cost, the most expensive one first. */
  routes: RouteCost[]
}

async function loop (app: FastifyInstance, options: LoopOptions): Promise<void> {
  const resolved = resolveOptions(options)
  ensure(!app.hasDecorator('loop'), 'loop', 'one registration of the loop (the suite registers it too), and no other decorator named loop', 'a second one')
  await app.register(refusalLog)
  const hooks = new LoopHooks(app, resolved)
  app.decorate('loop', {
    stats: () => {
      const { passed, held: started, left, refused, view } = hooks.counts
      return { ...view.gauges(), passed, started, left, refused: { ...refused }, routes: view.routes() }
    }
  })
  app.addHook('onRoute', ({ method, url, config }) => checkRoute(`${String(method)} ${url}`, config ?? {}))
  // Hooks of requests have names, which @fastify/otel gives to their spans.
  app.addHook('onRequest', function admitToLoop (request, reply, done) { hooks.onRequest(request, reply, done) })
  app.addHook('onSend', function measureLoop (request, reply, payload, done) { hooks.onSend(request, reply, payload, done) })
  // libuv accepts one connection in a turn of the loop, so the pump must know of each.
  app.addHook('onReady', async () => {
    subscribe('net.server.socket', hooks.connected)
    hooks.ready()
  })
  app.addHook('onListen', async () => hooks.ready())
  app.addHook('onClose', async () => { unsubscribe('net.server.socket', hooks.connected) })
}

/** The Fastify plugin that refuses requests in time when the event loop has more to do than it can. */
export default fp(loop, { name: 'fastify-concurrency/loop', fastify: '5.x' })
