import { SharedCounter, SharedFlag } from 'fastify-concurrency/jobs'

export default function scan (payload: { lines: string[], found: SharedArrayBuffer, stop: SharedArrayBuffer }): void {
  const found = new SharedCounter(payload.found)
  const stop = new SharedFlag(payload.stop)
  for (const line of payload.lines) {
    if (stop.isSet) return
    if (line.includes('error') && found.add() === 100) stop.set()   // the thread that counts the hundredth stops all
  }
}
