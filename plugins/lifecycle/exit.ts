/**
 * Calls functions when the process exits, with one listener for all applications of the process.
 *
 * The listener comes before those that are there already: pino ends its destinations in its own `exit` listener, and lines that are written after
 * that are lost.
 */
const reports = new Set<() => void>()

const onExit = (): void => {
  for (const report of reports) report()
}

/** Calls `report` if the process exits. Returns the function that removes it. */
export function atExit (report: () => void): () => void {
  if (reports.size === 0) process.prependListener('exit', onExit)
  reports.add(report)
  return () => {
    reports.delete(report)
    if (reports.size === 0) process.off('exit', onExit)
  }
}
