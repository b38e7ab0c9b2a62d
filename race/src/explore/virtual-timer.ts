import type { Parked, Scheduler } from './scheduler.ts'

/** A timer that fires when the scheduler says so. It has what Node's timers have. */
export class VirtualTimer {
  readonly #scheduler: Scheduler
  readonly #parked: Parked

  constructor (scheduler: Scheduler, what: Omit<Parked, 'start'>, fire: () => void) {
    this.#scheduler = scheduler
    this.#parked = {
      ...what,
      start: () => {
        if (what.isInterval) scheduler.park(this.#parked)
        fire()
        return undefined
      }
    }
    scheduler.park(this.#parked)
  }

  close (): this {
    this.#scheduler.cancel(this.#parked)
    return this
  }

  refresh (): this {
    this.close()
    this.#scheduler.park(this.#parked)
    return this
  }

  ref (): this { return this }
  unref (): this { return this }
  hasRef (): boolean { return true }
  [Symbol.dispose] (): void { this.close() }
}
