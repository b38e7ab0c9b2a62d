import type { FastifyBaseLogger } from 'fastify'

/**
 * Logs fields that may hold an application's error. A logger reads the error's properties, and a getter that throws would otherwise end
 * the process, since nobody is above the code that settles a task.
 */
export function say (log: FastifyBaseLogger, level: 'debug' | 'info' | 'warn' | 'error', fields: { err?: unknown, [name: string]: unknown }, message: string): void {
  try {
    log[level](fields, message)
  } catch {
    const { err, ...rest } = fields
    try {
      log[level]({ ...rest, unreadable: err !== undefined }, message)
    } catch {}
  }
}
