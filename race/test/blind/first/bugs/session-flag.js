// kleydon/prisma-session-store#193: a flag is tested, the connection is validated, and only then the flag is set.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

class SessionStore {
  constructor (isFixed) {
    this.isFixed = isFixed
    this.isSetting = new Map()
    this.writing = new Map()
    this.collisions = 0
  }

  async validateConnection () {
    await sleep(2)
    return true
  }

  async set (sid) {
    if (this.isSetting.get(sid)) return false
    if (this.isFixed) this.isSetting.set(sid, true)
    if (!await this.validateConnection()) return false
    this.isSetting.set(sid, true)
    const others = this.writing.get(sid) ?? 0
    if (others > 0) this.collisions++
    this.writing.set(sid, others + 1)
    await sleep(3)
    this.writing.set(sid, this.writing.get(sid) - 1)
    this.isSetting.set(sid, false)
    return true
  }
}

const build = (isFixed) => () => {
  const app = Fastify()
  const store = new SessionStore(isFixed)
  app.put('/session/:sid', async ({ params }) => ({ stored: await store.set(params.sid) }))
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = [{ method: 'PUT', url: '/session/a' }, { method: 'PUT', url: '/session/a' }]
