export interface Once<Args extends unknown[], T> {
  (...args: Args): Promise<T>
  readonly started: boolean
}

/**
 * Returns a function that calls `start` with the arguments of its first call and gives every caller the same promise. The promise exists before
 * `start` is called, so a caller from within `start` gets it too.
 */
export function once<Args extends unknown[], T> (start: (...args: Args) => Promise<T>): Once<Args, T> {
  let shared: Promise<T> | undefined
  const call = (...args: Args): Promise<T> => {
    if (shared !== undefined) return shared
    let settle: (result: Promise<T>) => void = () => {}
    shared = new Promise((resolve) => { settle = resolve })
    settle(start(...args))
    return shared
  }
  return Object.defineProperty(call, 'started', { get: () => shared !== undefined }) as Once<Args, T>
}
