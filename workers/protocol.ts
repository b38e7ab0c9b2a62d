/**
 * The messages between the main thread and a host, over a MessagePort of their own (piscina has another).
 * Both sides import this file; it has no imports but types.
 */
import type { MessagePort } from 'node:worker_threads'
import type { WireError } from './wire-error.ts'
import type { Slots } from './slots.ts'

/** What a host is started with: the argument of the thread's one piscina task. */
export interface HostData {
  readonly port: MessagePort
  readonly slots: Slots
  /** The module that defines the jobs. */
  readonly url: string
  /** Names by job index, by which messages refer to jobs. */
  readonly names: readonly string[]
  /**
   * Import every job before saying ready: at boot, so that a broken one fails there and no request pays for the import.
   */
  readonly preload: boolean
}

/** The trace that a piece of work belongs to, for another thread or process: the headers of W3C Trace Context. */
export interface TraceCarrier {
  /** The header `traceparent`. */
  readonly traceparent: string
  /** The header `tracestate`. */
  readonly tracestate?: string
}

/**
 * Main to host: jobs, in order, as one flat array (cloning one array of 16 jobs costs a third of cloning 16 objects):
 * slot, payload, slot, payload, … If the caller of one of them is traced, the last entry is an array with the carrier
 * of each, in the same order.
 */
export type Handover = unknown[]

export type ToHost =
  | Handover
  /** Abort the signal of the job with this sequence number. */
  | { readonly abort: number, readonly reason: WireError }

export const COMPLETED = 0
export const FAILED = 1
/** The job was revoked before it started. */
export const SKIPPED = 2
export const UNCLONEABLE = 3
/** Posted by no worker: the main thread could not read the outcome. */
export const UNREADABLE = 4

/** How a job failed, or failed to send its result. */
export type Failure =
  | [slot: number, status: typeof FAILED, thrown: WireError, durationMs: number]
  /** `path` is the part of the result that can't be cloned. */
  | [slot: number, status: typeof UNCLONEABLE, refused: { readonly path: string, readonly cause: WireError },
    durationMs: number]
  /** `cause` is what reading the outcome threw. */
  | [slot: number, status: typeof UNREADABLE, cause: unknown, durationMs: number]

/**
 * Host to main, one job each: a result that waited for company would be lost with its thread. The slot names the job.
 */
export type JobOutcome =
  | [slot: number, status: typeof COMPLETED, result: unknown, durationMs: number]
  | [slot: number, status: typeof SKIPPED, nothing: undefined, durationMs: 0]
  | Failure

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal'

/** A line of a job's log. */
export interface JobLine {
  readonly log: LogLevel
  readonly slot: number
  /** A line may come after its job has ended: then the slot may be another's. */
  readonly seq: number
  readonly job: string
  readonly fields: object | undefined
  /** Fields that are errors. */
  readonly errors: Readonly<Record<string, WireError>> | undefined
  readonly message: string | undefined
}

export type FromHost =
  | JobOutcome
  | { readonly ready: true }
  /** The jobs can't be loaded. */
  | { readonly broken: WireError, readonly what: string }
  | JobLine
  | { readonly progress: unknown, readonly slot: number }
  /** It could not read a message: which one, in the order of all that the main thread has posted. */
  | { readonly unread: number, readonly error: WireError }
