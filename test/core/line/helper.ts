// Jobs that come, run and go at an admission, in virtual time.
import { Admission, Entry, type AdmissionSettings } from '../../../plugins/core/line/admission.ts'
import { admissionDefaults } from '../../../plugins/workers/options.ts'
import type { Refusal } from '../../../plugins/shared/errors.ts'
import type { Priority } from '../../../workers/jobs.ts'

export class Job extends Entry {
  readonly name: string
  refusal: Refusal | undefined

  constructor (
    name: string,
    { job = 0, key = 'one', priority = 'normal', deadline = Infinity }:
    { job?: number, key?: string, priority?: Priority, deadline?: number } = {}
  ) {
    super(job, key, priority, deadline)
    this.name = name
  }
}

export const patient = { maxWait: Infinity, orderWait: Infinity, targetWait: Infinity }

export function create (settings: Partial<AdmissionSettings> = {}): Admission<Job> {
  return new Admission<Job>({ ...admissionDefaults, threads: 1, concurrency: [Infinity, Infinity], ...settings },
    (job, refusal) => { job.refusal = refusal })
}

/** Teaches a name's run time, in ms, with an idle thread. */
export function learn (admission: Admission<Job>, job: number, ms: number, now = 0, times = 1): void {
  for (let i = 0; i < times; i++) {
    admission.offer(new Job('lesson', { job }), now)
    admission.finish(admission.take(now)!, now, ms, 'completed')
  }
}

/** Keeps every thread busy with an endless job. */
export function occupy (admission: Admission<Job>, threads = 1, now = 0): Job[] {
  return Array.from({ length: threads }, (_, i) => {
    admission.offer(new Job(`endless ${i}`), now)
    return admission.take(now)!
  })
}

/** Everything, in the order in which one thread gets it. */
export function drain (admission: Admission<Job>, now = 0, run = 1): string[] {
  const names: string[] = []
  for (let job = admission.take(now); job !== undefined; job = admission.take(now)) {
    names.push(job.name)
    admission.finish(job, now, run, 'completed')
  }
  return names
}
