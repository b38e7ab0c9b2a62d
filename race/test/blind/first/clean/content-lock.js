// Ayushh-Sharmaa/NexaSphere#98: a queue of promises serialises all changes of a document that is read and written as a whole.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

export function build () {
  const app = Fastify()
  let file = JSON.stringify({ events: [] })
  let tail = Promise.resolve()

  const readContent = async () => {
    await sleep(1)
    return JSON.parse(file)
  }
  const writeContent = async (content) => {
    await sleep(1)
    file = JSON.stringify(content)
  }

  function withContentLock (fn) {
    const result = tail.then(fn, fn)
    tail = result.catch(() => {})
    return result
  }

  app.post('/event/:name', async ({ params: { name } }) => withContentLock(async () => {
    const content = await readContent()
    content.events.push(name)
    await writeContent(content)
    return { added: name }
  }))
  return app
}

export const requests = [{ method: 'POST', url: '/event/a' }, { method: 'POST', url: '/event/b' }]
