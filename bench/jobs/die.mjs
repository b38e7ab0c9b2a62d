/**
 * Ends its thread.
 *
 * @param {'exit' | 'uncaught'} how
 */
export default async function die (how) {
  if (how === 'exit') process.exit(3)
  setImmediate(() => { throw new Error('uncaught on purpose') })
  await new Promise(() => {})
}
