/** Runs many jobs for one caller: a bounded number at a time, results in order, and the first error aborts the rest. */

export interface MapOptions {
  /** Returns how many may run at a time. Called before each start, since the width may grow as jobs prove short. */
  width (): number
  /**
   * Tells whether an error is a refusal. A refused item is tried again once another of the same call has ended: too
   * many ran at a time.
   */
  isRefusal (error: unknown): boolean
}

/**
 * Runs `run` for every item.
 *
 * @param run gets a signal that aborts when another item has failed
 * @returns the results in the order of the items, when all have settled
 * @throws the first error, when all have settled
 */
export async function mapOrdered<Item, Result> (
  items: Iterable<Item>,
  run: (item: Item, signal: AbortSignal) => Promise<Result>,
  { width, isRefusal }: MapOptions
): Promise<Result[]> {
  const controller = new AbortController()
  const { signal } = controller
  const results: Result[] = []
  const refused: Array<[index: number, item: Item]> = []
  const iterator = items[Symbol.iterator]()
  let started = 0
  let running = 0
  let most = Infinity

  const next = (): [index: number, item: Item] | undefined => {
    if (signal.aborted || running >= Math.max(1, Math.min(most, width()))) return undefined
    if (refused.length > 0) return refused.shift()
    const { done, value } = iterator.next()
    return done === true ? undefined : [started++, value]
  }
  await new Promise<void>((resolve) => {
    const start = async ([index, item]: [index: number, item: Item]): Promise<void> => {
      running++
      try {
        results[index] = await run(item, signal)
        running--
      } catch (error) {
        running--
        if (isRefusal(error) && running > 0 && !signal.aborted) {
          refused.push([index, item])
          most = running
        } else controller.abort(error)
      }
      fill()
    }
    const fill = (): void => {
      try {
        for (let item = next(); item !== undefined; item = next()) void start(item)
      } catch (error) { // the iterator's
        controller.abort(error)
      }
      if (running === 0) resolve()
    }
    fill()
  })
  if (!signal.aborted) return results
  iterator.return?.()
  throw signal.reason
}
