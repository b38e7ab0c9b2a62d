/** A large array over the threads: in order, bounded, the first error cancels the rest. */

/**
 * Runs `run` for every item, at most `width()` of them at once.
 *
 * @param width asked before each start: it may widen as jobs prove short
 * @param run gets a signal that aborts when another item has failed
 * @returns the results in the order of the items, when all have settled
 * @throws the first error, when all have settled
 */
export async function mapOrdered<Item, Result> (
  items: Iterable<Item>,
  width: () => number,
  run: (item: Item, signal: AbortSignal) => Promise<Result>
): Promise<Result[]> {
  const controller = new AbortController()
  const results: Result[] = []
  const failures: unknown[] = []
  const iterator = items[Symbol.iterator]()
  let next = 0
  let running = 0

  await new Promise<void>((resolve) => {
    const fail = (error: unknown): void => {
      failures.push(error)
      if (failures.length === 1) controller.abort(error)
    }
    const fill = (): void => {
      try {
        while (failures.length === 0 && running < Math.max(1, width())) {
          const item = iterator.next()
          if (item.done === true) break
          const index = next++
          running++
          void run(item.value, controller.signal)
            .then((result) => { results[index] = result }, fail)
            .then(() => { running--; fill() })
        }
      } catch (error) { // the iterator's
        fail(error)
      }
      if (running === 0) resolve()
    }
    fill()
  })
  if (failures.length > 0) throw failures[0]
  return results
}
