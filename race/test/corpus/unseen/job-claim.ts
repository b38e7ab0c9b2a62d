// Workers ask for the next job over HTTP. A job that is pending is found, its input is loaded, and its status changes.
import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'
import { Table } from '../table.ts'

export const description = 'A claim finds a pending job, awaits its input, and marks it as running. Two workers run the same job.'

interface Job { id: string, status: 'pending' | 'running', worker?: string }

const inputs = new Table({ j1: 'in/1', j2: 'in/2' })

class JobQueue {
  readonly jobs: Job[]

  constructor (jobs: Job[]) {
    this.jobs = jobs
  }

  nextPending (): Job | undefined {
    return this.jobs.find(({ status }) => status === 'pending')
  }

  async claimLate (worker: string): Promise<{ id: string, input: string | undefined } | null> {
    const job = this.nextPending()
    if (!job) return null
    const input = await inputs.find(job.id)
    job.status = 'running'
    job.worker = worker
    return { id: job.id, input }
  }

  async claimAtOnce (worker: string): Promise<{ id: string, input: string | undefined } | null> {
    const job = this.nextPending()
    if (!job) return null
    job.status = 'running'
    job.worker = worker
    return { id: job.id, input: await inputs.find(job.id) }
  }
}

const build = (claim: 'claimLate' | 'claimAtOnce') => ({ shared }: Tools): FastifyInstance => {
  const app = Fastify()
  const queue = new JobQueue(shared([{ id: 'j1', status: 'pending' }, { id: 'j2', status: 'pending' }] as Job[], 'queue.jobs'))
  app.post<{ Params: { worker: string } }>('/claim/:worker', async ({ params }, reply) => {
    const claimed = await queue[claim](params.worker)
    return reply.code(claimed ? 200 : 204).send(claimed)
  })
  return app
}

export const { racy, fixed } = pair({
  name: 'unseen/job-claim',
  source: 'pattern: claim of a job',
  requests: ['w1', 'w2'].map((worker) => ({ method: 'POST', url: `/claim/${worker}` })),
  invariant (_app, responses) {
    assert.deepEqual(responses.map((response) => response.json<{ id: string }>().id).sort(), ['j1', 'j2'])
  }
}, build('claimLate'), build('claimAtOnce'))
