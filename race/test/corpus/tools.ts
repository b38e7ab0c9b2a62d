// Tools without a detector: `shared` returns its argument, and the mutex is a chain of promises.
import type { Locks, Tools } from './program.ts'

function chainOfPromises (): Locks {
  const tails = new Map<string, Promise<unknown>>()
  return {
    mutex (key, fn) {
      const turn = (tails.get(key) ?? Promise.resolve()).then(fn)
      tails.set(key, turn.catch(() => {}))
      return turn
    }
  }
}

/** Returns tools that detect nothing. */
export const identityTools = (): Tools => ({ shared: (value) => value, locks: chainOfPromises() })
