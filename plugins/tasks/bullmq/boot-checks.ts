/** The boot checks: settings of Redis with which accepted tasks can be lost are warned of. */
import type { FastifyBaseLogger } from 'fastify'
import { logSafely } from '../../shared/log.ts'
import { answered, type IoRedis } from '../../redis.ts'

/** Returns what is wrong with the settings of the server, in sentences. */
export function findings (info: string, save: string | undefined): string[] {
  const fields = new Map(info.split(/\r?\n/).map((line) => line.split(':', 2) as [string, string | undefined]))
  const found: string[] = []
  const policy = fields.get('maxmemory_policy')
  if (policy !== undefined && policy !== 'noeviction') {
    found.push(
      `maxmemory-policy is ${policy}: Redis may delete tasks when its memory is full. Fix: maxmemory-policy noeviction`)
  }
  if (fields.get('aof_enabled') === '0') {
    // Managed services forbid CONFIG. What INFO says is then all there is.
    const lost = save === '' ? 'all tasks are lost with Redis' : 'tasks since its last snapshot are lost with Redis'
    found.push(`appendonly is off: ${lost}. Fix: appendonly yes, with appendfsync everysec or always`)
  }
  return found
}

/**
 * Warns of settings with which accepted tasks can be lost. It never rejects: a check that can't be made is a line at
 * debug.
 */
export async function checkServer (client: IoRedis, timeout: number, log: FastifyBaseLogger): Promise<void> {
  try {
    const info = await answered(client.info(), timeout)
    const save = await answered(client.config('GET', 'save'), timeout).then((reply) => Array.isArray(reply)
      ? String(reply[1])
      : undefined, () => undefined)
    for (const finding of findings(info, save)) logSafely(log, 'warn', {}, `tasks: ${finding}`)
  } catch (err) {
    logSafely(log, 'debug', { err }, 'tasks: the settings of Redis could not be checked')
  }
}
