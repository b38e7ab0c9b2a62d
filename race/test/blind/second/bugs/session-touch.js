// valery-barysok/session-file-store#55: touch writes back the session that was loaded when the request began, and so undoes a logout.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const build = (isFixed) => () => {
  const app = Fastify()
  const files = new Map([['s1', JSON.stringify({ user: 'ann', seen: 0 })]])
  const store = {
    async load (sid) { await sleep(1); return JSON.parse(files.get(sid)) },
    async save (sid, session) { await sleep(1); files.set(sid, JSON.stringify(session)) },
    async touch (sid, session) {
      await sleep(1)
      const current = isFixed ? JSON.parse(files.get(sid)) : session
      files.set(sid, JSON.stringify({ ...current, seen: 1 }))
    }
  }

  app.get('/poll', async () => {
    const session = await store.load('s1')
    await sleep(4)
    await store.touch('s1', session)
    return 'nothing new'
  })
  app.post('/logout', async () => {
    const session = await store.load('s1')
    await store.save('s1', { ...session, user: null })
    return 'bye'
  })
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = ['/poll', { method: 'POST', url: '/logout' }]
