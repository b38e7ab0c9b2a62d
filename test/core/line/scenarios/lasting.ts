/** What a load leaves behind: debts, estimates. When its cause is gone, each key gets its share again. */
import { fixed, mix, type Source } from '../simulation.ts'
import { least, mean, product, stream, type Family, type Scenario } from './scenario.ts'

const FROM = 9_000
const UNTIL = 13_000
/** Who comes for four seconds. */
const kicks: Record<string, Source[]> = {
  nobody: [],
  'a heavy client': [{ length: fixed(1_200), clients: 4, key: 'kick', retry: 100 }],
  'a flood': [{ length: fixed(100), clients: 100, key: 'kick', patience: 2_000, retry: 1_000 }],
  'a client that leaves': [{ length: fixed(500), rate: 50, key: 'kick', patience: 150 }],
  'a crowd': [{ length: fixed(100), clients: 16, keys: Infinity, key: 'kick', patience: 1_000 }],
  'strangers that leave': [{ length: fixed(100), rate: 60, keys: Infinity, key: 'kick', patience: 300 }]
}

/** So many patient keys and keys of clients that wait for 1 s, with so many clients each, and what one takes. */
const mixes = [[8, 8, 1, 100], [4, 4, 2, 100], [2, 6, 2, 100], [0, 14, 1, 100], [4, 4, 1, 200], [30, 30, 1, 20]] as const

/** Clients that leave once they wait for longer, beside others that don't: both are served when a round is short. */
export const afterwards: Family = {
  name: 'afterwards',
  scenarios: product<[typeof mixes[number], keyof typeof kicks]>([...mixes], Object.keys(kicks))
    .map(([[patient, impatient, width, ms], kick]): Scenario => ({
      name: `${patient} patient, ${impatient} impatient, ${width} x ${ms} ms each, after ${kick}`,
      figures (run) {
        const clients = (count: number, key: string, patience: number): Source[] => count === 0
          ? []
          : [{ length: fixed(ms), clients: count * width, keys: count, key, patience, spread: 2_000 }]
        const { users, windows } = run({
          duration: 45_000,
          windows: [[25_000, 45_000]],
          sources: [
            ...clients(impatient, 'impatient', 1_000), ...clients(patient, 'patient', Infinity),
            ...kicks[kick]!.map((source) => ({ ...source, from: FROM, until: UNTIL, end: UNTIL }))
          ]
        })
        const honest = users.filter(({ key }) => key.includes('patient'))
        const times = honest.map(({ lately }) => lately)
        return { worst: least(times) / mean(times), useful: windows[0]!.total.useful }
      }
    })),
  mean: { worst: { atLeast: 0.8 }, useful: { atLeast: 0.97 } },
  each: { worst: { atLeast: 0.6 }, useful: { atLeast: 0.95 } },
  every: 2
}

/** Keys that ran long jobs once, and now ask for what the others ask for. */
export const onceHeavy: Family = {
  name: 'once heavy',
  scenarios: product<[number, number, number]>([0.7, 1.2, 2, 6], [400, 1_000], [2, 8]).map(([load, ms, threads]) => ({
    name: `4 of 40 keys began with two jobs of ${ms} ms, ${load}x, ${threads} threads`,
    figures (run) {
      const { windows } = run({
        threads,
        duration: 50_000,
        windows: [[25_000, 50_000]],
        sources: [
          stream(load * 0.9, 50, threads, { keys: 36, key: 'light', patience: 1_000, from: 3_000 }),
          stream(load * 0.1, 50, threads, { keys: 4, key: 'once', patience: 1_000, from: 6_000 }),
          { length: fixed(ms), burst: 8, keys: 4, key: 'once' }
        ]
      })
      const [light, once] = windows[0]!.each
      return { share: once!.ms / light!.ms * 9 }
    }
  })),
  mean: { share: { atLeast: 0.9 } },
  each: { share: { atLeast: 0.75 } },
  every: 2
}

const bursts = [[170, 100, 17], [170, 100, 170], [800, 20, 40]] as const
const before: Record<string, Source[]> = {
  'one job of 5 s': [{ length: fixed(5_000), burst: 1, key: 'first' }],
  'three jobs of 5 s': [{ length: fixed(5_000), burst: 3, key: 'first' }],
  'many short jobs and two of 5 s': [
    { length: fixed(50), burst: 60, keys: 20, key: 'short' }, { length: fixed(5_000), burst: 2, from: 2_500, key: 'first' }
  ],
  'seven keys with a job of 1 s': [{ length: fixed(1_000), burst: 7, keys: 7, key: 'first', from: 8_000 }],
  'short and long jobs': [{ length: mix(0.5, fixed(20), fixed(2_000)), burst: 8, keys: 2, key: 'first' }]
}

/** The first runs of a name were long. That they were tells nothing of other keys. */
export const misled: Family = {
  name: 'misled',
  scenarios: [
    ...product<[typeof bursts[number], keyof typeof before, number]>([...bursts], Object.keys(before), [Infinity, 10_000])
      .map(([[count, ms, keys], first, deadline]): Scenario => ({
        name: `${count} x ${ms} ms of ${keys} keys after ${first}, deadline ${deadline}`,
        figures (run) {
          const { each } = run({
            duration: 40_000,
            sources: [{ length: fixed(ms), burst: count, from: 12_000, keys, key: 'burst', deadline }, ...before[first]!]
          })
          return { lost: (each[0]!.arrived - each[0]!.served) / each[0]!.arrived }
        }
      })),
    ...product<[number, number]>([1, 3], [300, 100]).map(([first, ms]): Scenario => ({
      name: `20 ms with a deadline of 2.5 s beside loops of ${ms} ms, after ${first} of 5 s`,
      figures (run) {
        const { each } = run({
          duration: 30_000,
          sources: [
            { length: fixed(20), job: 1, rate: 8, keys: 4, key: 'light', deadline: 2_500, from: 8_000, until: 28_000 },
            { length: fixed(5_000), job: 1, burst: first, from: 1_000, key: 'first' },
            { length: fixed(ms), clients: 10, keys: 10, key: 'loop' }
          ]
        })
        return { lost: (each[0]!.arrived - each[0]!.served) / each[0]!.arrived }
      }
    }))
  ],
  mean: { lost: { atMost: 0.01 } },
  each: { lost: { atMost: 0.03 } },
  every: 2
}
