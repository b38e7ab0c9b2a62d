// What tasks publish. `server` tells apps in one process apart.
import { typedChannel } from '../shared/typed-channel.ts'

export interface TaskMessage {
  /** The app's server. */
  server: object
  /** The part of the id before the first colon. */
  name: string
  id: string
}

export const taskSubmitted = typedChannel<TaskMessage>('tasks:submitted')

export const taskStarted = typedChannel<TaskMessage & { attempt: number, waitedMs: number }>('tasks:started')

export const taskCompleted = typedChannel<TaskMessage & { attempt: number, durationMs: number }>('tasks:completed')

/** It failed for the last time. */
export const taskFailed = typedChannel<TaskMessage & { attempt: number, error: Error }>('tasks:failed')

/** It failed and will be tried again. */
export const taskRetried = typedChannel<TaskMessage & { attempt: number, error: Error, delayMs: number }>('tasks:retried')

/** Cancelled, replaced or given up by a shutdown. */
export const taskAborted = typedChannel<TaskMessage & { attempt: number, error: Error }>('tasks:aborted')

/** There was no room, or the service is closing. */
export const taskRefused = typedChannel<TaskMessage & { error: Error }>('tasks:refused')

/** It ignores its signal: it runs on, and nobody waits for it. `stack` is where it was submitted, if that is kept. */
export const taskLeaked = typedChannel<TaskMessage & { attempt: number, stack: string | undefined }>('tasks:leaked')

/** A group had work that nobody waited for, or an error that nobody has seen. `stack` is where the group was made, if that is kept. */
export const groupDropped = typedChannel<{ server: object, stack: string | undefined, error: unknown }>('tasks:group-dropped')
