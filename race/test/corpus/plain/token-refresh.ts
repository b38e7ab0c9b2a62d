// The racy program of bugs/token-refresh.ts, as an application that knows no detector: a decorated object.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'

interface Tokens { access: string, refresh: string, expired: boolean }

const used = new Set<string>()

/** An authorization server that accepts each refresh token once. */
async function refreshAt (refresh: string): Promise<Tokens> {
  await sleep(1)
  if (used.has(refresh)) throw new Error('invalid_grant')
  used.add(refresh)
  return { access: 'a2', refresh: 'r2', expired: false }
}

export function build (): FastifyInstance {
  const app = Fastify()
  app.decorate('auth', { tokens: { access: 'a1', refresh: 'r1', expired: true } })
  app.get('/projects', async () => {
    const auth = app.getDecorator<{ tokens: Tokens }>('auth')
    if (auth.tokens.expired) auth.tokens = await refreshAt(auth.tokens.refresh)
    return { token: auth.tokens.access }
  })
  return app
}
