/**
 * Tells whose mistake it is that a payload can't be read: the application's, or that of a client whose body it holds.
 */
import { types } from 'node:util'
import type { FastifyRequest } from 'fastify'
import { PayloadNotCloneableError } from '../shared/errors.ts'

/** The most objects of a body, and of a payload, that are looked at. */
const MAX_OBJECTS = 10_000

/**
 * Makes a payload that is nested too deeply the client's error, 400, if the payload holds objects of the request's
 * body: any client can nest JSON as deeply as Fastify's body limit allows.
 */
export function blameClient (error: unknown, payload: unknown, request: FastifyRequest | undefined): void {
  if (!(error instanceof PayloadNotCloneableError) || !(error.cause instanceof RangeError) ||
    request === undefined) return
  const ofBody = new Set(objectsOf(request.body))
  if (objectsOf(payload).some((object) => ofBody.has(object))) Object.assign(error, { statusCode: 400, status: 400 })
}

/** Returns the value and the objects in it, those near its root first. */
function objectsOf (value: unknown): object[] {
  const objects: object[] = []
  const seen = new Set<unknown>()
  const add = (part: unknown): void => {
    if (typeof part !== 'object' || part === null || seen.has(part) || objects.length >= MAX_OBJECTS ||
      types.isProxy(part)) return
    seen.add(part)
    objects.push(part)
  }
  add(value)
  for (let index = 0; index < objects.length && objects.length < MAX_OBJECTS; index++) {
    // Getters are the application's, and not called.
    for (const { value } of Object.values(Object.getOwnPropertyDescriptors(objects[index]))) add(value)
  }
  return objects
}
