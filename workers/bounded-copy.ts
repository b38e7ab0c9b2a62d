/**
 * Copies what a job logs or throws, up to a bound.
 *
 * Loggers on the main thread write such values as JSON, which repeats a shared part wherever it occurs. A message of a
 * few hundred bytes can share its parts so often that its JSON never ends. So the JSON is measured on the job's own
 * thread, and a shared part counts each time.
 */
import { types } from 'node:util'

/** What may still be copied: parts are elements, fields and entries, and the bytes of buffers. */
export interface Budget {
  parts: number
  characters: number
}

/** JSON of so much takes the main thread about a millisecond. A thousand lines may wait there: 64 MB. */
export const lineBudget = (): Budget => ({ parts: 2_000, characters: 65_536 })

/** An error is thrown once a job, and its fields are for the application. */
export const errorBudget = (): Budget => ({ parts: 20_000, characters: 1_048_576 })

/** The main thread can read 1,800 levels of objects with the stack that Node gives it. */
const MAX_DEPTH = 500

/**
 * Returns the JSON of a value. Only JSON that was made uses the budget up.
 * @throws if the value is larger or deeper than the budget allows, holds itself, or has a getter that throws
 */
function boundedJson (value: unknown, budget: Budget): string | undefined {
  const left = { ...budget }
  const depths = new Map<unknown, number>()
  const json = JSON.stringify(value, function (this: unknown, _key, part: unknown) {
    const depth = (depths.get(this) ?? 0) + 1
    left.parts -= types.isAnyArrayBuffer(part) ? part.byteLength : 1
    if (typeof part === 'string') left.characters -= part.length
    if (left.parts < 0 || left.characters < 0 || depth > MAX_DEPTH) throw new RangeError('Too large or too deep')
    if (typeof part === 'bigint') return String(part)
    const shown = types.isMap(part) || types.isSet(part) ? [...part] : part
    depths.set(shown, depth)
    return shown
  }) as string | undefined
  Object.assign(budget, left)
  return json
}

/** Returns what JSON keeps of a value. Throws as boundedJson() does. */
export function jsonCopy (value: unknown, budget: Budget): unknown {
  const json = boundedJson(value, budget)
  return json === undefined ? undefined : JSON.parse(json)
}

/**
 * Returns a clone of a value whose JSON is within the budget. Throws as boundedJson() does, and if the value can't be
 * cloned.
 */
export function boundedClone (value: unknown, budget: Budget): unknown {
  boundedJson(value, budget)
  return structuredClone(value)
}
