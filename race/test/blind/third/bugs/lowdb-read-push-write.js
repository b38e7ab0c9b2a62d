// typicode/lowdb#478: each request reads the file, pushes, and writes; the last writer wins.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

class Low {
  data = null
  constructor (disk) { this.disk = disk }
  async read () { await sleep(1); this.data = JSON.parse(this.disk.text) }
  async write () { const text = JSON.stringify(this.data); await sleep(1); this.disk.text = text }
}

const build = (isFixed) => () => {
  const app = Fastify()
  const disk = { text: '{"posts":["first"]}' }
  const db = new Low(disk)
  let queue = Promise.resolve()

  async function addPost (title) {
    await db.read()
    const { data } = db
    await sleep(1)
    data.posts.push(title)
    db.data = data
    await db.write()
  }

  app.post('/posts/:title', async ({ params: { title } }) => {
    await (isFixed ? (queue = queue.then(() => addPost(title))) : addPost(title))
    return { created: title }
  })
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = ['/posts/a', '/posts/b'].map((url) => ({ method: 'POST', url }))
