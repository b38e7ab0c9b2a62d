/** The loop's diagnostics channels. `server` tells applications in one process apart. */
import type { Origin } from '../cancellation/origin.ts'
import { typedChannel } from '../shared/typed-channel.ts'
import type { LoopRefusal } from './gate.ts'
import type { Part } from './pump.ts'

export interface LoopStalled {
  /** The application's server. */
  server: object
  /** How long the loop was held, in ms. */
  ms: number
  /** Up to the return of the handler (`start`), after a wait and up to the answer (`answer`), or not known. */
  part: Part
  /** The method and the pattern of the path, if a request has held the loop. */
  route: string | undefined
  requestId: string | undefined
  /** False if other code may have held the loop. */
  sure: boolean
}

/** Published for each request that is refused. `key` says whose it was, as the loop is shared. */
export const loopRefused = typedChannel<LoopRefusal & Origin & { server: object, key: string }>('loop:refused')
/** Published when something has held the event loop for longer than the option `slow`. */
export const loopStalled = typedChannel<LoopStalled>('loop:stalled')
