/**
 * Handles what functions of the application throw: any value, errors with getters that throw, causes that form a cycle.
 */
import { TaskThrewError } from '../shared/errors.ts'

/** Returns what was thrown, or an error that has it as its cause. */
export function toError (id: string, thrown: unknown): Error {
  return isInstance(thrown, Error) ? thrown : new TaskThrewError(id, describe(thrown), { cause: thrown })
}

/**
 * Makes the error that a function threw after its signal had aborted the cause of the signal's reason, unless that
 * would form a cycle.
 */
export function addCause (reason: Error, thrown: Error): void {
  if (!('cause' in reason) && !isCausedBy(thrown, reason)) {
    Reflect.defineProperty(reason, 'cause',
      { value: thrown, configurable: true, writable: true })
  }
}

function isCausedBy (error: unknown, reason: Error): boolean {
  const seen = new Set<unknown>()
  for (let link = error; typeof link === 'object' && link !== null && !seen.has(link); link = read(link, 'cause')) {
    if (link === reason) return true
    seen.add(link)
  }
  return false
}

/** Reads a property of an unknown object. Returns undefined if its getter throws. */
export function read (object: object, name: string): unknown {
  try {
    return (object as Record<string, unknown>)[name]
  } catch {
    return undefined
  }
}

/** Tells whether a value is an instance, without what `instanceof` throws for a Proxy that was revoked. */
export function isInstance<T> (value: unknown, Class: abstract new (...args: never[]) => T): value is T {
  try {
    return value instanceof Class
  } catch {
    return false
  }
}

/**
 * Returns what was thrown, unless nothing can be asked of it: a Proxy that was revoked would make whoever looks at it
 * throw, the logger too.
 */
export function readable (thrown: unknown): unknown {
  try {
    void (thrown instanceof Error)
    return thrown
  } catch {
    return new TaskThrewError(undefined, 'a value that can\'t be read')
  }
}

function describe (value: unknown): string {
  if (typeof value === 'function') return 'a function'
  return typeof value === 'object' && value !== null ? 'an object' : String(value).slice(0, 200)
}
