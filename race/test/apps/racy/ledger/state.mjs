export let balance = 100

export function setBalance (to) {
  balance = to
}

export default class Ledger {
  entries = []
  note (amount) {
    this.entries.push(amount)
  }
}
