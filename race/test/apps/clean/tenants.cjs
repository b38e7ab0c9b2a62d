// Decorators that hold objects, maps of maps, objects as keys, class instances, promises and controllers: found or made in one turn.
'use strict'
const Fastify = require('fastify')
const { AsyncLocalStorage } = require('node:async_hooks')
const { setTimeout: wait } = require('node:timers/promises')

const scope = new AsyncLocalStorage()
const controllers = new Set()
const byObject = new Map()
const frozen = Object.freeze({ limit: 3, tags: ['x'] })
const keys = [{ id: 1 }, { id: 2 }]

function nested (map, key, make) {
  let value = map.get(key)
  if (value === undefined) map.set(key, value = make())
  return value
}

exports.requests = ['/acme/ada', '/acme/bob', '/acme/ada', '/other/ada']

exports.build = function build () {
  const app = Fastify()
  app.decorate('tenants', { usage: new Map(), loading: new Map(), limit: frozen.limit, of (name) { return nested(this.usage, name, () => new Map()) } })
  app.decorateRequest('timing', null)
  app.decorateRequest('tenant', { getter () { return app.tenants.of(this.params.tenant) } })
  app.addHook('onRequest', async (request) => { request.timing = { begun: Date.now(), marks: [] } })
  app.addHook('onRequest', (request, _reply, done) => scope.run({ id: request.id }, done))
  app.get('/:tenant/:user', async (request, reply) => {
    const { tenant, params: { user }, timing } = request
    const controller = new AbortController()
    controllers.add(controller)
    try {
      const loading = nested(app.tenants.loading, user, () => wait(1, { user }).finally(() => app.tenants.loading.delete(user)))
      timing.marks.push('load')
      const { user: loaded } = await loading
      timing.marks.push('loaded')
      const count = (tenant.get(loaded) ?? 0) + 1
      tenant.set(loaded, count)
      for (const key of keys) nested(byObject, key, () => []).push(count)
      if (byObject.get(keys[0]).length < 1 || scope.getStore().id !== request.id || timing.marks.length !== 2 || !Object.isFrozen(frozen)) return reply.code(500).send()
      return { ...Object.fromEntries(tenant), keys: [...byObject.keys()].indexOf(keys[1]), aborted: controller.signal.aborted }
    } finally {
      controllers.delete(controller)
    }
  })
  return app
}
