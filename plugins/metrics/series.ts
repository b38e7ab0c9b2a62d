/** Series by label, with a bound on their number: a label that clients could influence must not grow the metrics without end. */

/** Names after this many share one series, named `other`. */
const LIMIT = 200

export class Series<Item> {
  readonly #items = new Map<string, Item>()
  readonly #create: (name: string) => Item

  constructor (create: (name: string) => Item) {
    this.#create = create
  }

  of (name: string): Item {
    const found = this.#items.get(name)
    if (found !== undefined) return found
    if (this.#items.size >= LIMIT && name !== 'other') return this.of('other')
    const item = this.#create(name)
    this.#items.set(name, item)
    return item
  }

  values (): Item[] {
    return [...this.#items.values()]
  }
}
