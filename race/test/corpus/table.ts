// A stand-in for a database that is reached over a network. Its rows are not shared state of an application:
// each operation takes a round trip, and then happens at once, as in a real database.
import { setTimeout as sleep } from 'node:timers/promises'

export class Table<Row> {
  readonly #rows: Map<string, Row>

  constructor (rows: Record<string, Row> = {}) {
    this.#rows = new Map(Object.entries(rows))
  }

  async find (id: string): Promise<Row | undefined> {
    await sleep(1)
    return this.#rows.get(id)
  }

  async save (id: string, row: Row): Promise<Row> {
    await sleep(1)
    this.#rows.set(id, row)
    return row
  }

  /** The `UPDATE … SET … RETURNING` of a database: reads and writes in one step. */
  async update (id: string, change: (row: Row | undefined) => Row): Promise<Row> {
    await sleep(1)
    const row = change(this.#rows.get(id))
    this.#rows.set(id, row)
    return row
  }

  async all (): Promise<Row[]> {
    await sleep(1)
    return [...this.#rows.values()]
  }
}
