/** Debt is server time, in ms, that waited in vain. */
export class Debt {
  amount = 0
  /** The debt has been an overload, and is one until all of it is paid. */
  isOverload = false
  /** How much of what is paid of all debts this one has been paid. */
  paid: number

  constructor (paid: number) {
    this.paid = paid
  }
}
