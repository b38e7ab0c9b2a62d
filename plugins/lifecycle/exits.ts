/**
 * Notices the end of the process in the middle of a drain: a second signal, or the time limit of the code that handles signals.
 */

/** Is called when the process ends, which is too late for anything asynchronous. */
type Exited = () => void

const watching = new Set<Exited>()

/** The one listener for all applications of the process: Node warns of more than ten listeners. */
function onExit (): void {
  for (const exited of watching) exited()
}

/** Calls `exited` when the process exits. Returns the function that stops watching. */
export function watchExit (exited: Exited): () => void {
  if (watching.size === 0) process.on('exit', onExit)
  watching.add(exited)
  return () => {
    watching.delete(exited)
    if (watching.size === 0) process.off('exit', onExit)
  }
}
