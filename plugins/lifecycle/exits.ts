/**
 * The end of the process in the middle of a drain: by a second signal, or by whoever handles signals and has waited long enough.
 */

/** Called as the process ends: too late for anything asynchronous. */
type Exited = () => void

const watching = new Set<Exited>()

/** One listener for all applications of the process: Node warns of more than ten. */
function onExit (): void {
  for (const exited of watching) exited()
}

/** Calls `exited` if the process exits from now on. Returns the function that takes it back. */
export function watchExit (exited: Exited): () => void {
  if (watching.size === 0) process.on('exit', onExit)
  watching.add(exited)
  return () => {
    watching.delete(exited)
    if (watching.size === 0) process.off('exit', onExit)
  }
}
