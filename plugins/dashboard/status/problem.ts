/** What the first line of the page is about, and what it is decided from. */
import type { Sample } from '../sample.ts'
import type { Stored } from '../stored-tasks.ts'

/**
 * What the service does. refusing: a rule of the application refuses (a limit, a full lock, a store that is away), and
 * the service has capacity left. overloaded: more is asked for than it can do. stalled: nothing goes on. draining: it
 * shuts down. attention: nothing is refused, but stored tasks wait for the operator.
 */
export type State = 'serving' | 'attention' | 'refusing' | 'overloaded' | 'stalled' | 'draining'

/** Something that an operator should know. Names in its texts are between backticks. */
export interface Problem {
  /** Equal for the same problem in the next second. */
  id: string
  /** When it began, in ms since 1970, if that is known. Otherwise it begins when it is seen. */
  since?: number
  /** Whether the time is when it happened, once, or is not said. Otherwise the problem goes on since then. */
  time?: 'at' | 'unsaid'
  state: Exclude<State, 'serving'>
  what: string
  why: string
  advice: string
  /** The page of the documentation, and the section, that explains it. */
  docs: string
}

/** A job that a thread runs. */
export interface Running {
  pool: string
  name: string
  runMs: number
}

/** What is known of the last seconds. */
export interface Facts {
  phase: string
  /** The last ten seconds, the oldest first. */
  samples: readonly Sample[]
  running: readonly Running[]
  /** The `concurrency` of a job, or Infinity. */
  concurrencyOf: (pool: string, name: string) => number
  /** The client that most of the recent refusals of this subject (`job search`, `limit plan`, `request`) are of. */
  mostRefused: (subject: string) => { client: string, share: number } | undefined
  /** The route that held the event loop last, and for how long, if the plugin for the event loop knows it. */
  stall: { route: string, ms: number } | undefined
  /** What Redis has answered last about stored tasks; undefined while no page is open. */
  stored: Stored | undefined
}
