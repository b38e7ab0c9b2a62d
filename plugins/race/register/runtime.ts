/** What rewritten code calls, as the global `$$race`. */
import { detector } from '../detector.ts'
import { shared } from '../shared.ts'
import { isPlain, track, Tracked } from '../tracked.ts'

export const GLOBAL = '$$race'

/** A variable that functions share. */
export type Cell = Tracked

export const runtime = {
  /** Tracks a value where it is made. */
  shared<T> (value: T, name: string): T {
    return isPlain(value) ? shared(value, name) : value
  },

  cell: (name: string): Cell => new Tracked({}, name, false),

  /** @param cell undefined before its declaration has run */
  read<T> (cell: Cell | undefined, value: T): T {
    if (cell !== undefined) detector.read(cell.at(CELL), 'value', value)
    return value
  },

  /** Returns what is to be written. */
  write<T> (cell: Cell | undefined, value: T, before: unknown): T {
    if (cell === undefined) return value
    const tracked = isPlain(value) ? track(value, cell.name, false) as T : value
    detector.write(cell.at(CELL), { kind: 'set', value: tracked, before, had: before !== undefined })
    return tracked
  }
}

/** A variable is one location. */
const CELL = Symbol('cell')
