/** Returns the instant at which it runs, in ms on the clock that all threads share. */
export default function startedAt () {
  return Number(process.hrtime.bigint()) / 1e6
}
