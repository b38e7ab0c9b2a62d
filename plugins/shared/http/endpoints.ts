/**
 * The endpoints of a port for operators: what the parts of the suite answer there, by path. A part adds its own, if the
 * application has such a port; see plugins/operate.
 */
import type { FastifyInstance } from 'fastify'

export interface EndpointAnswer {
  status: number
  type: string
  body: string
}

export type Endpoints = Map<string, () => Promise<EndpointAnswer>>

const known = new WeakMap<object, Endpoints>()

export function openEndpoints (app: FastifyInstance): Endpoints {
  const endpoints: Endpoints = new Map()
  known.set(app.server, endpoints)
  return endpoints
}

/** Returns undefined if the application has no port for operators, or if that is registered after the caller. */
export function endpointsOf (app: FastifyInstance): Endpoints | undefined {
  return known.get(app.server)
}

export function json (status: number, body: object): EndpointAnswer {
  return { status, type: 'application/json; charset=utf-8', body: JSON.stringify(body) }
}
