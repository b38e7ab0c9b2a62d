// The interface of the corpus: what a program is, and what a race detector hands to it. The corpus knows no detector.
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'

/** Options of `Tools.shared`. */
export interface SharedOptions {
  /** The last writer may win: each value that is written is right, whichever comes last. A cache with a time to live is an example. */
  lww?: boolean
}

/** The locks that fixes and clean programs use. */
export interface Locks {
  /** Runs `fn` while no other call with the same key runs. Resolves or rejects as `fn` does. */
  mutex<T> (key: string, fn: () => T | Promise<T>): Promise<T>
}

/** The tools that a program gets from whoever runs it. `identityTools()` in tools.ts are tools without a detector. */
export interface Tools {
  /** Marks state that requests share, and returns what the program must use in its place. */
  shared<T extends object> (value: T, name: string, options?: SharedOptions): T
  locks: Locks
}

/** A small Fastify application, the requests that overlap on it, and a judgement of the outcome that needs no detector. */
export interface Program {
  /** A unique name: folder, file, and, for a pair, `racy` or `fixed`. */
  name: string
  /** The public issue from which the pattern was taken, or the name of the pattern. */
  source: string
  /** Returns a new application with new state. Each run needs a build of its own. */
  build (tools: Tools): FastifyInstance | Promise<FastifyInstance>
  /** The requests to send at once. The state must be right in whatever order their steps run. */
  requests: InjectOptions[]
  /**
   * Throws if the state or the responses are wrong after all requests have ended.
   * @param responses the responses, in the order of `requests`
   */
  invariant (app: FastifyInstance, responses: LightMyRequestResponse[]): void | Promise<void>
}

/** A module of bugs/ or unseen/: an application with a race, and the same application without it. */
export interface Pair {
  /** A sentence that says what goes wrong. */
  description: string
  racy: Program
  fixed: Program
}

/** A module of clean/: an application that looks racy and is not. */
export interface Clean {
  /** A sentence that says why the application is right. */
  description: string
  program: Program
}

/** Makes the two programs of a pair, which differ in `build` only. */
export function pair (common: Omit<Program, 'build'>, racy: Program['build'], fixed: Program['build']): Pick<Pair, 'racy' | 'fixed'> {
  return {
    racy: { ...common, name: `${common.name}/racy`, build: racy },
    fixed: { ...common, name: `${common.name}/fixed`, build: fixed }
  }
}
