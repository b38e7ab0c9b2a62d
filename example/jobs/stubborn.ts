/** A job as it should not be: it never looks at `context.aborted`. Its caller is answered in time all the same, and its thread is replaced. */
export default function stubborn ({ ms }: { ms: number }): number {
  const end = performance.now() + ms
  let turns = 0
  while (performance.now() < end) turns++
  return turns
}
