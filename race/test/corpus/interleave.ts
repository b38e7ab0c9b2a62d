// A scheduler for the corpus alone. It shows that a racy program goes wrong in some order of its steps, and a clean one in none,
// without any detector. An operation is parked before it starts, and a seeded generator chooses the one that starts next.
import fs from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import timers from 'node:timers/promises'

type Operation = (...values: never[]) => unknown
type Target = Record<string, Operation>

const FILES = ['access', 'appendFile', 'mkdir', 'readFile', 'rename', 'stat', 'unlink', 'writeFile']
const nextTurn = setImmediate

/** Returns a generator of numbers from 0 to below 1 (mulberry32). */
function generator (seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6D2B79F5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

/** Returns whether Node itself called the function that asks. The fetch of Node uses the global timers for its sockets. */
function calledByNode (): boolean {
  return new Error().stack!.split('\n')[3]!.includes('node:internal')
}

/**
 * Calls `starts`, each at a time of its own, in an order that `seed` chooses, and so with every timer, file operation and fetch that they call.
 * Resolves when all have settled and nothing is parked or in flight. Timers take no time, and a longer one may end before a shorter one.
 */
export async function interleave<T> (seed: number, starts: Array<() => Promise<T>>): Promise<T[]> {
  const random = generator(seed)
  const parked: Array<() => void> = []
  const run = { inFlight: 0, settled: false }
  const restores: Array<() => void> = []

  const park = async (): Promise<void> => new Promise((resolve) => parked.push(resolve))
  async function operate<R> (start: () => R): Promise<Awaited<R>> {
    await park()
    run.inFlight++
    try {
      return await start()
    } finally {
      run.inFlight--
    }
  }
  function patch (target: object, name: string, replacement: (original: Operation) => Operation): void {
    const original = (target as Target)[name]!
    ;(target as Target)[name] = replacement(original)
    restores.push(() => { (target as Target)[name] = original })
  }

  patch(timers, 'setTimeout', () => async (_ms: number, value: unknown) => operate(() => value))
  patch(timers, 'setImmediate', () => async (value: unknown) => operate(() => value))
  for (const name of FILES) patch(fs, name, (original) => async (...values: never[]) => operate(() => original(...values)))
  patch(globalThis, 'fetch', (original) => async (...values: never[]) => operate(() => original(...values)))
  patch(globalThis, 'setTimeout', (original) => (fn: () => void, ...values: never[]) => {
    if (calledByNode()) return original(fn as never, ...values)
    const timer = { cleared: false, ref: () => timer, unref: () => timer }
    parked.push(() => { if (!timer.cleared) fn() })
    return timer
  })
  patch(globalThis, 'clearTimeout', (original) => (timer: { cleared?: boolean } | undefined) => {
    if (timer?.cleared === undefined) return original(timer as never)
    timer.cleared = true
  })
  syncBuiltinESMExports()

  try {
    const all = Promise.all(starts.map(async (start) => {
      await park()
      return start()
    })).finally(() => { run.settled = true })
    all.catch(() => {})
    while (!run.settled || parked.length > 0 || run.inFlight > 0) {
      for (let turn = 0; turn < 2; turn++) await new Promise<void>((resolve) => nextTurn(resolve))
      if (run.inFlight === 0) parked.splice(Math.floor(random() * parked.length), 1)[0]?.()
    }
    return await all
  } finally {
    for (const restore of restores) restore()
    syncBuiltinESMExports()
  }
}
