// mscharley/dot#277: two requests into a container miss its cache, and each makes a singleton of its own.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

class Container {
  bindings = new Map()
  cache = new Map()
  pending = new Map()
  constructor (isFixed) { this.isFixed = isFixed }

  bind (token, factory) { this.bindings.set(token, factory) }

  async get (token) {
    if (this.cache.has(token)) return this.cache.get(token)
    if (this.isFixed) {
      const known = this.pending.get(token) ?? this.create(token)
      this.pending.set(token, known)
      return known
    }
    return this.create(token)
  }

  async create (token) {
    const instance = await this.bindings.get(token)(this)
    this.cache.set(token, instance)
    return instance
  }
}

const build = (isFixed) => () => {
  const app = Fastify()
  const container = new Container(isFixed)
  container.bind('counter', async () => { await sleep(2); return { visits: 0 } })
  app.get('/visit', async () => {
    const counter = await container.get('counter')
    await sleep(1)
    counter.visits++
    return 'counted'
  })
  app.get('/visits', async () => (await container.get('counter')).visits)
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = ['/visit', '/visit']
