'use strict'

// The plugin that the suite is compared with: the same kinds of hooks (hooks.mjs finds them), none of which does anything.
const callbacks = {
  onRequest: (request, reply, done) => done(),
  preParsing: (request, reply, payload, done) => done(),
  preValidation: (request, reply, done) => done(),
  preHandler: (request, reply, done) => done(),
  preSerialization: (request, reply, payload, done) => done(),
  onError: (request, reply, error, done) => done(),
  onSend: (request, reply, payload, done) => done(),
  onResponse: (request, reply, done) => done(),
  onTimeout: (request, reply, done) => done(),
  onRequestAbort: (request, done) => done(),
  onRoute: () => {},
  onRegister: () => {},
  onReady: async () => {},
  onListen: async () => {},
  preClose: async () => {},
  onClose: async () => {}
}

function control (app, options, done) {
  for (const name of process.env.FC_ECOSYSTEM_HOOKS.split(',')) app.addHook(name, callbacks[name])
  done()
}
control[Symbol.for('skip-override')] = true

module.exports.default = control
