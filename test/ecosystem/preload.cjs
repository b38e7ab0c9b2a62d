'use strict'

/**
 * Registers one plugin first in every Fastify instance of the process. NODE_OPTIONS requires this file, so that processes which a
 * test starts get it too.
 *
 * FC_ECOSYSTEM_PLUGIN: the module of the plugin. FC_ECOSYSTEM_OPTIONS: its options, as JSON. FC_ECOSYSTEM_REGISTRATION: `awaited` or `immediate`, see below.
 */
const { appendFileSync } = require('node:fs')
const { subscribe } = require('node:diagnostics_channel')
const { isMainThread } = require('node:worker_threads')

const { FC_ECOSYSTEM_PLUGIN, FC_ECOSYSTEM_REGISTRATION, FC_ECOSYSTEM_COUNT } = process.env
const plugin = require(FC_ECOSYSTEM_PLUGIN).default
const options = JSON.parse(process.env.FC_ECOSYSTEM_OPTIONS ?? '{}')
const counted = FC_ECOSYSTEM_COUNT

// What adds a hook or a route, and so sees a difference between "after our plugin" and "before our plugin has booted".
const inOrder = ['addHook', 'route', 'get', 'head', 'post', 'put', 'delete', 'options', 'patch', 'trace', 'all']

/**
 * Does what `await app.register(plugin)` does for the code that follows it, which nothing here can make wait: what that code adds to
 * the root is added once the plugin has booted.
 */
function defer (app) {
  let booted = false
  app.after(() => { booted = true })
  for (const name of inOrder) {
    const add = app[name]
    if (typeof add !== 'function') continue
    app[name] = function (...args) {
      // A nested instance inherits from the root, and exists only once the root's plugin has booted.
      if (booted || this !== app) return add.apply(this, args)
      app.after(() => { add.apply(app, args) })
      return app
    }
  }
}

// Our plugin refuses worker threads by name; a test that starts a thread is a test of something else.
if (isMainThread) {
  subscribe('fastify.initialization', ({ fastify }) => {
    appendFileSync(counted, '.')
    fastify.register(plugin, options)
    if (FC_ECOSYSTEM_REGISTRATION === 'awaited') defer(fastify)
  })
}
