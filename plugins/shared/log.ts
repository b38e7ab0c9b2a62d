import type { FastifyBaseLogger } from 'fastify'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

/**
 * Writes a line to the log and never throws. Use it for every line that is written where nobody is above to catch: in a
 * timer, an event or a shutdown. A log stream that was destroyed throws, and so does a getter of an application's error
 * when the logger reads it; either would end the process. If `fields.err` can't be read, the line is written without
 * it, with `unreadable: true`.
 */
export function logSafely (log: FastifyBaseLogger, level: LogLevel, fields: { err?: unknown, [name: string]: unknown },
  message: string): void {
  try {
    log[level](fields, message)
  } catch {
    const { err, ...rest } = fields
    try {
      log[level]({ ...rest, unreadable: err !== undefined }, message)
    } catch {}
  }
}

/**
 * Puts the stack of the running code on an object, with at most so many frames, as `stack`. The text is made only when
 * it is read. Each frame costs about a microsecond, so take few where it is done often.
 *
 * @param above the function whose caller is the first line of the stack
 */
export function captureStack (target: { stack?: string }, frames: number, above: (...args: never[]) => unknown): void {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = frames
  Error.captureStackTrace(target, above)
  Error.stackTraceLimit = stackTraceLimit
}
