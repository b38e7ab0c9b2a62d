/** Looks up the jobs of a pool by name. Messages and admission refer to a job by its index. */
import { isJobs, type JobDefinition, type Jobs, type Priority } from '../../workers/jobs.ts'
import { JobUnknownError } from '../shared/errors.ts'
import * as check from '../shared/options.ts'
import { priorities } from '../core/line/entry.ts'

export interface RegisteredJob {
  readonly index: number
  readonly name: string
  /** In ms; undefined for the pool's. */
  readonly timeout: number | undefined
  readonly concurrency: number
  readonly priority: Priority
}

export class Registry {
  readonly url: string
  readonly jobs: readonly RegisteredJob[]
  readonly #byName: ReadonlyMap<string, RegisteredJob>

  constructor (jobs: Jobs) {
    this.url = jobs.url
    this.jobs = Object.entries(jobs.definitions).map(([name, { timeout, concurrency = Infinity, priority = 'normal' }],
      index) => {
      return { index, name, timeout, concurrency, priority }
    })
    this.#byName = new Map(this.jobs.map((job) => [job.name, job]))
  }

  get names (): readonly string[] {
    return this.jobs.map(({ name }) => name)
  }

  /** @throws JobUnknownError */
  get (name: string): RegisteredJob {
    const job = this.#byName.get(name)
    if (job === undefined) throw new JobUnknownError(name, this.names)
    return job
  }
}

/** @internal Every option of a job, for the test that compares them with the docs. */
export const jobOptionNames = ['load', 'timeout', 'concurrency',
  'priority'] as const satisfies ReadonlyArray<keyof JobDefinition>

/** Validates the option `jobs`, also in what `defineJobs()` takes unchecked. */
export function validateJobs (option: string, value: unknown): Jobs {
  check.ensure(isJobs(value), option, 'what defineJobs() returns', value)
  const jobs = value as Jobs
  check.text(`${option}.url`, jobs.url)
  const definitions = Object.entries(check.record(option, jobs.definitions))
  check.ensure(definitions.length > 0, option, 'at least one job', jobs.definitions)
  for (const [name, definition] of definitions) {
    check.ensure(typeof definition === 'object' && definition !== null, `${option}.${name}`,
      'a function, or an object with load()', definition)
    const { load, timeout, concurrency, priority } = check.record(`${option}.${name}`, definition, jobOptionNames)
    check.fn(`${option}.${name}.load`, load)
    if (timeout !== undefined) check.duration(`${option}.${name}.timeout`, timeout, { min: 1 })
    if (concurrency !== undefined && concurrency !== Infinity) {
      check.integer(`${option}.${name}.concurrency`,
        concurrency, { min: 1 })
    }
    if (priority !== undefined) check.oneOf(`${option}.${name}.priority`, priority, priorities)
  }
  return jobs
}
