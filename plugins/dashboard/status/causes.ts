/** Why a pool refuses jobs, and what to do about that: pure functions of the last seconds. */
import { sum } from '../sample.ts'
import { code, duration, number, ofAll, whoInWords } from '../words.ts'
import type { Facts, Problem, Running } from './problem.ts'

type Cause = Pick<Problem, 'why' | 'advice' | 'docs'>

/** A job holds its thread if it has run for longer than this, in ms: clients rarely wait as long for an answer. */
const HOLD_MS = 5_000

/** Returns the cause if jobs of a name hold threads for long; those that hold the most threads. */
export function holderOf (running: readonly Running[], threads: number,
  capOf: (name: string) => number): Cause | undefined {
  const held = new Map<string, number[]>()
  for (const { name, runMs } of running) if (runMs >= HOLD_MS) held.set(name, [...held.get(name) ?? [], runMs])
  const [found] = [...held].sort(([, a], [, b]) => b.length - a.length || Math.max(...b) - Math.max(...a))
  if (found === undefined) return undefined
  const [name, { length }] = found
  const longest = duration(Math.max(...found[1]))
  // With as many permits as there are threads, the jobs of one name would still hold all of them.
  const permits = Math.max(1, Math.min(length, threads - 1))
  const isBounded = threads === 1 || capOf(name) <= permits
  const it = length === 1 ? 'it' : 'them'
  return {
    why: `${code(name)} has held ${ofAll(length, threads, 'thread')} for ${length === 1 ? longest : `up to ${longest}`}`,
    advice: isBounded ? `Give ${it} a pool of its own, or cancel ${it}` : `Give ${it} \`concurrency: ${permits}\`, or cancel ${it}`,
    docs: isBounded ? 'workers.md#options-of-workers' : 'workers.md#options-of-a-job'
  }
}

/** Returns the cause if no single job holds the threads. @param refused the names of the jobs that are refused */
export function causeOf ({ samples, concurrencyOf, mostRefused }: Facts, pool: string, threads: number,
  refused: readonly string[]): Cause {
  const [name = ''] = refused
  const permits = concurrencyOf(pool, name)
  const own = samples.flatMap(({ pools }) => pools.filter((each) => each.pool === pool))
  const isIdle = own.filter(({ running }) => running < threads).length > own.length / 2
  if (refused.length === 1 && permits < threads && isIdle) {
    return {
      why: `its \`concurrency: ${permits}\` lets it hold ${ofAll(permits, threads, 'thread')}, and others are idle`,
      advice: 'Raise its `concurrency`, if the other jobs can spare the threads',
      docs: 'workers.md#options-of-a-job'
    }
  }
  const jobs = samples.flatMap(({ jobs }) => jobs.filter((job) => job.pool === pool))
  const seconds = Math.max(1, samples.length)
  const mean = (numbers: readonly number[]): string => rate(sum(numbers) / seconds)
  const arrived = mean(own.map(({ arrived }) => arrived))
  const who = mostRefused(`job ${name}`)
  return {
    why: `in the last ${seconds} s ${arrived} jobs a second arrived, and ` +
      `${threads === 1 ? 'one thread' : `${threads} threads`} completed ` +
      `${mean(jobs.map(({ completed }) => completed))}${whoInWords(who)}`,
    advice: who === undefined
      ? 'Raise `maxThreads` if the machine has idle cores, or start more processes'
      : 'Give that client a limit',
    docs: who === undefined ? 'sizing.md' : 'limiter.md'
  }
}

const rate = (value: number): string => number(Number(value.toPrecision(2)))
