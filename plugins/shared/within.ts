import { MAX_DURATION } from './options.ts'

/** Resolves to whether `promise` resolves within `ms`. Rejects if the promise does. */
export async function within (ms: number, promise: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  try {
    return await Promise.race([
      promise.then(() => true),
      new Promise<boolean>((resolve) => { if (ms !== Infinity) timer = setTimeout(resolve, Math.min(ms, MAX_DURATION), false) })
    ])
  } finally {
    clearTimeout(timer)
  }
}
