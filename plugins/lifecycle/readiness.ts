/**
 * Asks the application's own checks whether it is ready. However often the probe is asked, and by however many, a check runs at most once a
 * second, and never twice at the same time: a database that doesn't answer must not gather a pile of questions.
 */
import { within } from '../shared/within.ts'
import type { ReadyCheck } from './options.ts'

export interface FailedCheck {
  /** The function's name, or its place in the option. */
  name: string
  error: string
}

/** How long an answer holds, in ms. */
const FRESH = 1_000

/** @returns a function that resolves to the checks that fail */
export function createReadiness (checks: readonly ReadyCheck[], timeout: number, now: () => number): () => Promise<FailedCheck[]> {
  const asks = checks.map((check, index) => createAsk(check, check.name === '' ? `ready[${index}]` : check.name, timeout))
  let answer: Promise<FailedCheck[]> = Promise.resolve([])
  let pending = false
  let askedAt = -Infinity

  async function ask (): Promise<FailedCheck[]> {
    pending = true
    try {
      return (await Promise.all(asks.map(async (each) => each()))).filter((failed) => failed !== undefined)
    } finally {
      pending = false
    }
  }

  return async () => {
    if (!pending && now() >= askedAt + FRESH) {
      askedAt = now()
      answer = ask()
    }
    return answer
  }
}

function createAsk (check: ReadyCheck, name: string, timeout: number): () => Promise<FailedCheck | undefined> {
  let running: Promise<void> | undefined
  let error: string | undefined

  async function run (): Promise<void> {
    try {
      error = await check() === false ? 'returned false' : undefined
    } catch (thrown) {
      error = thrown instanceof Error && thrown.message !== '' ? thrown.message : String(thrown)
    } finally {
      running = undefined
    }
  }

  return async () => {
    // Set before run() may unset it.
    if (running === undefined) {
      const started = Promise.resolve().then(run)
      running = started
    }
    if (!await within(timeout, running)) return { name, error: `has not answered within ${timeout} ms` }
    return error === undefined ? undefined : { name, error }
  }
}
