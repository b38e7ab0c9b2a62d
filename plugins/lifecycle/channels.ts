/** The diagnostics channels of lifecycle. The field `server` distinguishes the apps of one process. */
import { typedChannel } from '../shared/typed-channel.ts'
import type { Phase } from './phases.ts'
import type { ShutdownReport } from './drain.ts'

/** A phase began. */
export const phaseEntered = typedChannel<{ server: object, phase: Phase, reason: string }>('lifecycle:entered')

/** A new request was refused with a 503. `route` is the pattern of its route, undefined for a 404. */
export const requestRefused = typedChannel<{ server: object, phase: Phase, method: string, route: string | undefined }>('lifecycle:refused')

/** All accepted work has finished or was given up. */
export const drained = typedChannel<{ server: object, report: ShutdownReport }>('lifecycle:drained')
