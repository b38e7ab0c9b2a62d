// What lifecycle publishes. `server` tells apps in one process apart.
import { typedChannel } from '../shared/typed-channel.ts'
import type { Phase } from './phases.ts'
import type { ShutdownReport } from './drain.ts'

/** A phase began. */
export const phaseEntered = typedChannel<{ server: object, phase: Phase, reason: string }>('lifecycle:entered')

/** A new request got our 503. `route` is the pattern, undefined for a 404. */
export const requestRefused = typedChannel<{ server: object, phase: Phase, method: string, route: string | undefined }>('lifecycle:refused')

/** Everything accepted has finished or was given up. */
export const drained = typedChannel<{ server: object, report: ShutdownReport }>('lifecycle:drained')
