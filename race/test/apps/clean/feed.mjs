// Generators and async iterators: each request has its own; what they share is appended to, or keyed by an object in a WeakMap.
import Fastify from 'fastify'
import { once, EventEmitter } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import { Readable } from 'node:stream'

class Feed {
  #posts = []
  static created = 0
  static { Feed.created = 0 }

  constructor () { Feed.created++ }

  add (post) {
    this.#posts.push(post)
    return this
  }

  * [Symbol.iterator] () {
    yield * this.#posts
  }

  async * pages (size) {
    const posts = [...this]
    for (let at = 0; at < posts.length; at += size) {
      await wait(1)
      yield posts.slice(at, at + size)
    }
  }

  static is (value) { return #posts in value }
}

function * ids (prefix) {
  let n = 0
  while (true) {
    const reset = yield `${prefix}${n++}`
    if (reset) n = 0
  }
}

const feed = new Feed().add('a').add('b').add('c')
const users = new Map([['ada', { name: 'Ada' }], ['bob', { name: 'Bob' }]])
const seen = new WeakMap()
const online = new WeakSet()

export const requests = ['/feed/ada', '/feed/bob', '/feed/ada', '/stream']

export function build () {
  const app = Fastify()
  app.get('/feed/:name', async ({ params: { name } }, reply) => {
    const user = users.get(name)
    online.add(user)
    if (!seen.has(user)) seen.set(user, [])
    const names = ids(name)
    const pages = []
    for await (const page of feed.pages(2)) pages.push({ id: names.next().value, page })
    seen.get(users.get(name)).push(pages.length)
    const emitter = new EventEmitter()
    setImmediate(() => emitter.emit('ready', 1, 2))
    const [one, two] = await once(emitter, 'ready')
    if (!online.has(users.get(name)) || !Feed.is(feed) || Feed.created !== 1 || one + two !== 3) return reply.code(500).send()
    return pages
  })
  app.get('/stream', async (_request, reply) => reply.type('text/plain').send(Readable.from(feed.pages(1), { objectMode: true }).map(String)))
  return app
}
