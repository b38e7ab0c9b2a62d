// ndycode/codex-multi-auth#372, cline/cline#12834: each write has a version, and a write that is older than what is there is dropped.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

class Affinity {
  #entries = new Map()
  #version = 0

  next () { return ++this.#version }

  remember (session, account, version) {
    const entry = this.#entries.get(session)
    if (entry !== undefined && entry.version > version) return false
    this.#entries.set(session, { account, version })
    return true
  }
}

export function build () {
  const app = Fastify()
  const affinity = new Affinity()
  app.post('/chat/:ms', async ({ params: { ms } }) => {
    const version = affinity.next()
    await sleep(Number(ms))
    affinity.remember('s', `account-${version}`, version)
    return { done: true }
  })
  return app
}

export const requests = [{ method: 'POST', url: '/chat/4' }, { method: 'POST', url: '/chat/1' }]
