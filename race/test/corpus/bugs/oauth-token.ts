// A client of an OAuth provider that is made once and keeps the token of the user whom it served last.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'A singleton client stores the token of a user in a field and uses the field after an await. One user gets the profile of another.'

class OAuthClient {
  readonly state: { token: string }

  constructor (state: { token: string }) {
    this.state = state
  }

  async exchange (code: string): Promise<string> {
    await sleep(1)
    return `token-of-${code}`
  }

  async profile (token: string): Promise<{ name: string }> {
    await sleep(1)
    return { name: token.replace('token-of-', '') }
  }

  async login (code: string): Promise<void> {
    this.state.token = await this.exchange(code)
  }

  async me (): Promise<{ name: string }> {
    await sleep(1) // refreshes the discovery document
    return this.profile(this.state.token)
  }
}

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const client = new OAuthClient(shared({ token: '' }, 'client.state'))
  app.get<{ Querystring: { code: string } }>('/callback', async (request) => {
    await client.login(request.query.code)
    return client.me()
  })
  return app
}

function fixedApp (): FastifyInstance {
  const app = Fastify()
  const client = new OAuthClient({ token: '' })
  app.get<{ Querystring: { code: string } }>('/callback', async (request) => {
    const token = await client.exchange(request.query.code)
    return client.profile(token)
  })
  return app
}

export const { racy, fixed } = pair({
  name: 'bugs/oauth-token',
  source: 'lelylan/simple-oauth2#88',
  requests: ['ann', 'ben'].map((code) => ({ url: '/callback', query: { code } })),
  invariant (_app, responses) {
    assert.deepEqual(responses.map((response) => response.json<{ name: string }>().name), ['ann', 'ben'])
  }
}, racyApp, fixedApp)
