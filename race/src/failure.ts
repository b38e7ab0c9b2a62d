/**
 * Failures of the detector's own. The first one is said in a warning and switches the detector off; none reaches the code under test, which
 * goes on as if nothing looked at it. Whatever the application calls, knowingly or not, goes through `attempt()` or its own try and `fail()`.
 */
let isBroken = false

/** Whether the detector has failed, and looks at nothing until `mend()`. */
export function hasFailed (): boolean {
  return isBroken
}

/** Lets the detector look again, for those who use it next. */
export function mend (): void {
  isBroken = false
}

export function fail (error: unknown): void {
  if (isBroken) return
  isBroken = true
  process.emitWarning(`the race detector has failed and is off from now on: ${shown(error)}`)
}

/** Calls a part of the detector, and returns `otherwise` if the part throws. The application's own code must not run within. */
export function attempt<T> (part: () => T, otherwise: T): T {
  try {
    return part()
  } catch (error) {
    fail(error)
    return otherwise
  }
}

function shown (error: unknown): string {
  try {
    return error instanceof Error ? error.stack ?? error.message : String(error)
  } catch {
    return 'an error that has no text'
  }
}
