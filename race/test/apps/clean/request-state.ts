import Fastify from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'

declare module 'fastify' {
  interface FastifyRequest { user: { name: string, visits: number } | null }
}

class Context {
  steps: string[] = []
  count = 0

  async step (name: string): Promise<void> {
    const { count } = this
    await wait(1)
    this.count = count + 1
    this.steps.push(name)
  }
}

export const requests = ['/?name=ada', '/?name=bob']

export function build () {
  const app = Fastify()
  app.decorateRequest('user', null)
  app.addHook('onRequest', async (request) => {
    await wait(1)
    request.user = { name: (request.query as { name: string }).name, visits: 0 }
  })
  app.get('/', async (request) => {
    const context = new Context()
    await context.step('a')
    const visits = request.user!.visits
    await context.step('b')
    request.user!.visits = visits + 1
    return { user: request.user, steps: context.steps, count: context.count }
  })
  return app
}
