/** Creates Fastify as an application does: the logger is on at level info. Its lines are written to a file that keeps none of them. */
import { devNull } from 'node:os'
import Fastify from 'fastify'

/** @param {import('fastify').FastifyInstance} app that listens */
export function portOf (app) {
  return /** @type {import('node:net').AddressInfo} */ (app.server.address()).port
}

export function app () {
  return Fastify({ logger: { level: 'info', file: devNull } })
}
