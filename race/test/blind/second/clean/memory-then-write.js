// typicode/lowdb#478: the data is read once at the start, changed in one turn, and written afterwards.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

export function build () {
  const app = Fastify()
  const file = { text: '{"posts":[]}' }
  const db = {
    data: JSON.parse(file.text),
    async write () {
      const text = JSON.stringify(this.data)
      await sleep(1)
      file.text = text
    }
  }

  app.post('/posts/:title', async ({ params }) => {
    db.data.posts.push({ title: params.title })
    await db.write()
    return 'created'
  })
  app.get('/posts', async () => db.data.posts)
  return app
}

export const requests = [{ method: 'POST', url: '/posts/a' }, { method: 'POST', url: '/posts/b' }]
