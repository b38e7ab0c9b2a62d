/** Runs many jobs for one caller: a bounded number at a time, results in order, and the first error aborts the rest. */

export interface MapOptions {
  /** Returns how many may run at a time. Called before each start, since the width may grow as jobs prove short. */
  width (): number
  /** Tells whether an error is a refusal. A refused item is tried again once another of the same call has ended: too many ran at a time. */
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
  const results: Result[] = []
  const failures: unknown[] = []
  const again: Array<{ item: Item, index: number }> = []
  const iterator = items[Symbol.iterator]()
  let next = 0
  let running = 0
  let most = Infinity

  const fail = (error: unknown): void => {
    failures.push(error)
    if (failures.length === 1) controller.abort(error)
  }
  const following = (): { item: Item, index: number } | undefined => {
    const refused = again.shift()
    if (refused !== undefined) return refused
    const { done, value } = iterator.next()
    return done === true ? undefined : { item: value, index: next++ }
  }

  await new Promise<void>((resolve) => {
    const start = async ({ item, index }: { item: Item, index: number }): Promise<void> => {
      running++
      try {
        results[index] = await run(item, controller.signal)
        running--
      } catch (error) {
        running--
        if (isRefusal(error) && running > 0 && failures.length === 0) {
          again.push({ item, index })
          most = running
        } else fail(error)
      }
      fill()
    }
    const fill = (): void => {
      try {
        while (failures.length === 0 && running < Math.max(1, Math.min(most, width()))) {
          const item = following()
          if (item === undefined) break
          void start(item)
        }
      } catch (error) { // the iterator's
        fail(error)
      }
      if (running === 0) resolve()
    }
    fill()
  })
  if (failures.length === 0) return results
  iterator.return?.()
  throw failures[0]
}
