/** Names the request that caused an event, by its route and not by its path: a path holds what the client wrote, and there is no end of paths. */
import type { FastifyRequest } from 'fastify'

/** The request that caused an event. All fields are undefined outside a request. */
export interface Origin {
  requestId: string | undefined
  method: string | undefined
  /** The pattern of the route, for example `/users/:id`; undefined for a 404. */
  route: string | undefined
}

/** Costs several times what a message without it does, so call this function for refusals and failures only. */
export function originOf (request: FastifyRequest | undefined): Origin {
  return { requestId: request?.id, method: request?.method, route: request?.routeOptions.url }
}
