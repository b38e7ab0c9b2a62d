/**
 * Locks in a shutdown. They close last, since requests and tasks that finish need locks; then whoever still waits is refused, and
 * whoever still holds a lock is named.
 */
import type { Drainable } from '../shared/drainables.ts'
import { within } from '../shared/within.ts'
import type { LockTable } from './table.ts'

export function drainableOf (table: LockTable): Drainable {
  return {
    name: 'locks',
    phase: 'workers',
    // A lock is part of a request or task, and not work of its own.
    completed: 0,
    get pending () { return table.holding + table.waiting },
    get timers () { return table.timers },
    close: () => table.close(),
    idle: async () => table.idle(),
    held: () => table.unfinished(),
    async giveUp (grace) {
      table.close()
      table.rejectAll()
      await within(grace, table.idle())
      return table.unfinished()
    }
  }
}
