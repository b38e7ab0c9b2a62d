// rstudio/shiny-server#283: a worker with a free place is chosen, it starts, and only then its place is taken.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

class Scheduler {
  workers = [{ id: 'w1', sessions: 0, started: false }, { id: 'w2', sessions: 0, started: false }]

  constructor (isFixed) { this.isFixed = isFixed }

  available () {
    const free = this.workers.filter((worker) => worker.sessions < 1)
    return free.length === 0 ? undefined : free[0]
  }

  async start (worker) {
    await sleep(3)
    worker.started = true
  }

  async open () {
    const worker = this.available()
    if (worker === undefined) return undefined
    if (this.isFixed) worker.sessions++
    await this.start(worker)
    if (!this.isFixed) worker.sessions++
    return worker.id
  }
}

const build = (isFixed) => () => {
  const app = Fastify()
  const scheduler = new Scheduler(isFixed)
  app.post('/app', async (request, reply) => {
    const worker = await scheduler.open()
    return worker === undefined ? reply.code(503).send({ error: 'full' }) : { worker }
  })
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = [{ method: 'POST', url: '/app' }, { method: 'POST', url: '/app' }]
