/** The metrics of the event loop's admission. There are none without the plugin. */
import type { Instrument, Sample } from './instrument.ts'
import type { LoopMetrics, MetricsSnapshot } from './snapshot.ts'

const seconds = (ms: number): number => ms / 1_000

/** Reads values from what the snapshot has of the loop. */
const ofLoop = <T>(read: (loop: LoopMetrics) => T[]) => ({ loop }: MetricsSnapshot): T[] => loop === undefined ? [] : read(loop)

export const loopInstruments: readonly Instrument[] = [
  {
    name: 'loop_requests_total',
    help: 'Requests at the admission of the event loop, by what became of them',
    type: 'counter',
    labels: ['outcome'],
    read: ofLoop(({ passed, started, left, refused }): Sample[] => {
      const outcomes = { passed, held: started, left, refused: Object.values(refused).reduce((sum, count) => sum + count, 0) }
      return Object.entries(outcomes).map(([outcome, value]) => ({ labels: { outcome }, value }))
    })
  },
  {
    name: 'loop_refused_total',
    help: 'Requests that the admission of the event loop refused, by reason',
    type: 'counter',
    labels: ['reason'],
    read: ofLoop(({ refused }): Sample[] => Object.entries(refused).map(([reason, value]) => ({ labels: { reason }, value })))
  },
  { name: 'loop_held', help: 'Requests that are held', type: 'gauge', labels: [], read: ofLoop(({ held }) => [{ labels: {}, value: held }]) },
  { name: 'loop_wait_seconds', help: 'Time for which requests were held that then started', type: 'histogram', labels: [], read: ofLoop(({ wait }) => [{ labels: {}, durations: wait }]) },
  {
    name: 'loop_route_seconds_total',
    help: 'Time of the event loop that requests of a route took',
    type: 'counter',
    labels: ['route'],
    read: ofLoop(({ routes }): Sample[] => routes.map(({ route, ms }) => ({ labels: { route }, value: seconds(ms) })))
  },
  {
    name: 'loop_stalls_total',
    help: 'Times that a request of a route held the event loop for long',
    type: 'counter',
    labels: ['route'],
    read: ofLoop(({ routes }): Sample[] => routes.map(({ route, stalls }) => ({ labels: { route }, value: stalls })))
  }
]
