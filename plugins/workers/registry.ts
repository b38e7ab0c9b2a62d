/** The jobs of a pool. Messages and admission refer to a job by its index. */
import { isJobs, type JobDefinition, type Jobs, type Priority } from '../../workers/jobs.ts'
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
  readonly names: readonly string[]

  constructor (jobs: Jobs) {
    this.url = jobs.url
    this.jobs = Object.entries(jobs.definitions).map(([name, definition], index) => {
      const { timeout, concurrency = Infinity, priority = 'normal' } = definition
      return { index, name, timeout, concurrency, priority }
    })
    this.names = this.jobs.map(({ name }) => name)
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
      check.integer(`${option}.${name}.concurrency`, concurrency, { min: 1 })
    }
    if (priority !== undefined) check.oneOf(`${option}.${name}.priority`, priority, priorities)
  }
  return jobs
}
