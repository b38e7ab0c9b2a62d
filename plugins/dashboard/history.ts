/**
 * History keeps samples as text, for pages that are opened later: those of the last five minutes, and for the last hour
 * one for each twelve seconds. What it keeps has a fixed bound, however many jobs and limits a sample names.
 */
import { sampleOf, sum, type Reading, type Sample } from './sample.ts'

/** The samples of each of the two spans. page/main.js shows as many. */
const KEPT_SAMPLES = 300
/**
 * The characters of each of the two spans: 2 MB, or 4 MB if a name isn't Latin. A service whose samples are longer than
 * 6,667 characters, with about thirty jobs, keeps fewer of them.
 */
const MAX_CHARACTERS = 2_000_000
/** The seconds that a sample of the hour is of. */
const COARSE = 12

export class History {
  readonly #texts: string[] = []
  #characters = 0

  add (text: string): void {
    this.#texts.push(text)
    this.#characters += text.length
    while (this.#texts.length > KEPT_SAMPLES || this.#characters > MAX_CHARACTERS) {
      this.#characters -= this.#texts.shift()?.length ?? 0
    }
  }

  /** The samples as an array in JSON, the oldest first. */
  get json (): string {
    return `[${this.#texts.join()}]`
  }
}

/** Makes one sample of twelve. */
export class Hour {
  readonly history = new History()
  #since: Reading | undefined
  #samples: Sample[] = []

  /**
   * Returns a sample of the hour, as text, each twelfth time.
   *
   * @param sample what is between the two readings
   */
  add (sample: Sample, before: Reading, after: Reading): string | undefined {
    this.#since ??= before
    this.#samples.push(sample)
    if (this.#samples.length < COARSE) return undefined
    const text = JSON.stringify(coarse(sampleOf(this.#since, this.#since, after, sample.at), this.#samples))
    this.history.add(text)
    this.#since = after
    this.#samples = []
    return text
  }
}

/** A peak of a second is not to be lost: gauges are the highest of the twelve samples. */
function coarse (rates: Sample, samples: readonly Sample[]): Sample {
  const most = (value: (sample: Sample) => number): number => Math.max(...samples.map(value))
  return {
    ...rates,
    pools: rates.pools.map((pool) => {
      const own = samples.flatMap(({ pools }) => pools.filter((each) => each.pool === pool.pool))
      const [waiting, running] = [own.map((each) => each.waiting), own.map((each) => each.running)]
      return { ...pool, waiting: Math.max(...waiting), running: Math.max(...running) }
    }),
    tasks: {
      ...rates.tasks,
      running: most(({ tasks }) => tasks.running),
      waiting: most(({ tasks }) => tasks.waiting)
    },
    routes: [],
    eventLoop: {
      utilization: sum(samples.map(({ eventLoop }) => eventLoop.utilization)) / samples.length,
      delayP99: most(({ eventLoop }) => eventLoop.delayP99),
      delayMax: most(({ eventLoop }) => eventLoop.delayMax)
    }
  }
}
