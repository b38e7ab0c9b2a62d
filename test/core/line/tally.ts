const COUNTS = ['arrived', 'served', 'refused', 'left', 'waitedInVain', 'demand', 'ms', 'busy'] as const

/** What became of the jobs of a source, in the whole of a simulation or in a part of it. */
export class Tally {
  readonly #threads: number
  readonly from: number
  readonly to: number
  /** Jobs whose client asked in this part of the simulation, and what became of them. */
  arrived = 0
  served = 0
  refused = 0
  left = 0
  /** Of them, those that waited for more than 500 ms and were then refused or left. */
  waitedInVain = 0
  /** The run time of the jobs that were asked for, in ms. */
  demand = 0
  /** Thread time in this part that was spent on clients that were still there at the end, and on all, in ms. */
  ms = 0
  busy = 0
  /** The longest time from a client's request to its answer, in ms. */
  longest = 0
  readonly latencies: number[] = []
  readonly waits: number[] = []
  /** How often a thread had become free until one took the job, without those that took jobs of the same source. */
  readonly turns: number[] = []

  constructor (threads: number, from: number, to: number) {
    this.#threads = threads
    this.from = from
    this.to = to
  }

  has (asked: number): boolean {
    return asked >= this.from && asked < this.to
  }

  asked (ms: number): void {
    this.arrived++
    this.demand += ms
  }

  ran (start: number, end: number, useful: boolean): void {
    const ms = Math.min(end, this.to) - Math.max(start, this.from)
    if (ms <= 0) return
    this.busy += ms
    if (useful) this.ms += ms
  }

  gone (what: 'refused' | 'left', waited: number): void {
    this[what]++
    if (waited > 500) this.waitedInVain++
  }

  /** The sum of several tallies of the same part. */
  static sum (tallies: readonly Tally[]): Tally {
    const sum = new Tally(tallies[0]!.#threads, tallies[0]!.from, tallies[0]!.to)
    for (const tally of tallies) {
      for (const count of COUNTS) sum[count] += tally[count]
      sum.longest = Math.max(sum.longest, tally.longest)
      for (const latency of tally.latencies) sum.latencies.push(latency)
      for (const wait of tally.waits) sum.waits.push(wait)
      for (const turns of tally.turns) sum.turns.push(turns)
    }
    return sum
  }

  /** Served a second. */
  get rate (): number {
    return this.served * 1_000 / (this.to - this.from)
  }

  /**
   * Thread time spent on clients that were still there ÷ all thread time: goodput, without the chance of which run
   * times were drawn.
   */
  get useful (): number {
    return this.ms / (this.#threads * (this.to - this.from))
  }

  /** Useful thread time ÷ what was asked for, at most all thread time. */
  get satisfied (): number {
    return this.ms / Math.min(this.demand, this.#threads * (this.to - this.from))
  }

  /** The share that waited for more than 500 ms and was then refused or left. */
  get inVain (): number {
    return this.waitedInVain / this.arrived
  }

  /** The share of the served that had their answer within 500 ms. */
  get fast (): number {
    return this.latencies.reduce((fast, latency) => fast + Number(latency <= 500), 0) / this.latencies.length
  }

  get p50 (): number {
    return percentile(this.latencies, 0.5)
  }

  get p99 (): number {
    return percentile(this.latencies, 0.99)
  }

  get p99Wait (): number {
    return percentile(this.waits, 0.99)
  }

  get p99Turns (): number {
    return percentile(this.turns, 0.99)
  }
}

function percentile (values: readonly number[], p: number): number {
  const sorted = Float64Array.from(values).sort()
  return sorted.length === 0 ? NaN : sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))]!
}
