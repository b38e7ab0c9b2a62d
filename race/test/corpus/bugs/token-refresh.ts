// An access token that has expired: each request that sees it refreshes it, but a refresh token is good for one use.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'Two requests see that the access token has expired, and both use the same refresh token. The second use is refused.'

interface Tokens { access: string, refresh: string, expired: boolean }

/** An authorization server that accepts each refresh token once. */
function authorizationServer (): (refresh: string) => Promise<Tokens> {
  const used = new Set<string>()
  return async (refresh) => {
    await sleep(1)
    if (used.has(refresh)) throw new Error('invalid_grant')
    used.add(refresh)
    return { access: 'a2', refresh: 'r2', expired: false }
  }
}

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const refreshAt = authorizationServer()
  const auth = shared({ tokens: { access: 'a1', refresh: 'r1', expired: true } as Tokens }, 'auth')
  const validTokens = async (): Promise<Tokens> => {
    if (auth.tokens.expired) {
      auth.tokens = await refreshAt(auth.tokens.refresh)
    }
    return auth.tokens
  }
  app.get('/projects', async () => ({ token: (await validTokens()).access }))
  return app
}

function fixedApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const refreshAt = authorizationServer()
  const auth = shared({ tokens: { access: 'a1', refresh: 'r1', expired: true } as Tokens, refreshing: null as Promise<void> | null }, 'auth')
  const refresh = async (): Promise<void> => {
    auth.tokens = await refreshAt(auth.tokens.refresh)
  }
  const validTokens = async (): Promise<Tokens> => {
    if (auth.tokens.expired) {
      auth.refreshing ??= refresh().finally(() => { auth.refreshing = null })
      await auth.refreshing
    }
    return auth.tokens
  }
  app.get('/projects', async () => ({ token: (await validTokens()).access }))
  return app
}

export const { racy, fixed } = pair({
  name: 'bugs/token-refresh',
  source: 'neondatabase/mcp-server-neon#209',
  requests: [{ url: '/projects' }, { url: '/projects' }],
  invariant (_app, responses) {
    assert.deepEqual(responses.map(({ statusCode }) => statusCode), [200, 200])
  }
}, racyApp, fixedApp)
