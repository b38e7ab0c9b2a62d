import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'A change is written only if the version is still the one that was read. Otherwise the change is computed again.'

interface Page { version: number, words: string[] }

const polish = async (word: string): Promise<string> => {
  await sleep(1)
  return word.toUpperCase()
}

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const pages = shared(new Map<string, Page>([['home', { version: 1, words: [] }]]), 'pages')
  app.post<{ Params: { page: string }, Body: { word: string } }>('/pages/:page', async ({ params, body }) => {
    for (;;) {
      const seen = pages.get(params.page)!
      const next = { version: seen.version + 1, words: [...seen.words, await polish(body.word)] }
      if (pages.get(params.page)!.version === seen.version) {
        pages.set(params.page, next)
        return { version: next.version }
      }
    }
  })
  app.get('/home', async () => pages.get('home'))
  return app
}

export const program: Program = {
  name: 'clean/version-retry',
  source: 'race.md: a retry loop with a version check',
  build,
  requests: ['a', 'b', 'c'].map((word) => ({ method: 'POST', url: '/pages/home', payload: { word } })),
  async invariant (app) {
    const page = (await app.inject('/home')).json<Page>()
    assert.deepEqual({ version: page.version, words: page.words.sort() }, { version: 4, words: ['A', 'B', 'C'] })
  }
}
