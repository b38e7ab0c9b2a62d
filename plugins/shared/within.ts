/** Resolves to whether `promise` did so within `ms`. */
export async function within (ms: number, promise: Promise<void>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  try {
    return await Promise.race([
      promise.then(() => true),
      new Promise<boolean>((resolve) => { if (ms !== Infinity) timer = setTimeout(resolve, ms, false) })
    ])
  } finally {
    clearTimeout(timer)
  }
}
