/**
 * Reads what Fastify and ws keep under symbols of their own. None of it is published, so a later version may keep it
 * elsewhere: then the result is undefined, and the caller does without. Tests named pinning.test.ts pin each use.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'

/** Returns the symbol of this description that an object or one of its prototypes has. */
export function symbolOf (object: object, description: string): symbol | undefined {
  for (let each: object | null = object; each !== null; each = Object.getPrototypeOf(each) as object | null) {
    const found = Object.getOwnPropertySymbols(each).find((symbol) => symbol.description === description)
    if (found !== undefined) return found
  }
  return undefined
}

/** Returns the value under the symbol of this description. */
export function privateOf<T> (object: object, description: string): T | undefined {
  const symbol = symbolOf(object, description)
  return symbol === undefined ? undefined : Reflect.get(object, symbol) as T
}

/** Returns the options that the app was made with. */
export function fastifyOptionsOf (app: FastifyInstance): Readonly<Record<string, unknown>> {
  return privateOf<Record<string, unknown>>(app, 'fastify.options') ?? {}
}

/** Fastify's own symbol, known once a request was seen: to look for it takes longer than most hooks. */
let kContext: symbol | undefined

/** Returns what Fastify keeps for the route of a request. */
export function contextOf<Context extends object> (request: FastifyRequest): Context | undefined {
  kContext ??= symbolOf(request, 'fastify.context')
  return kContext === undefined ? undefined : Reflect.get(request, kContext) as Context | undefined
}
