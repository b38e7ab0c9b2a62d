/** Debt is server time, in ms, that waited in vain. */
export class Debt {
  amount = 0
  /** The debt has been an overload, and is one until all of it is paid. */
  isOverload = false
  /** The idle time up to which the debt is paid. */
  idle: number

  constructor (idle: number) {
    this.idle = idle
  }
}
