import { MAX_DURATION } from './options.ts'

/**
 * Resolves to whether `promise` resolves within `ms`. Rejects if the promise does. When this event loop has stood
 * still, timers fire before a reply that has long arrived is read, so the reply is read first.
 */
export async function within (ms: number, promise: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  try {
    return await Promise.race([
      promise.then(() => true),
      new Promise<boolean>((resolve) => {
        if (ms !== Infinity) timer = setTimeout(() => setImmediate(resolve, false), Math.min(ms, MAX_DURATION))
      })
    ])
  } finally {
    clearTimeout(timer)
  }
}
