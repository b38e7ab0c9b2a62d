// The program of clean/version-retry.ts, as an application that knows no detector.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const pages = new Map([['home', { version: 1, words: [] }]])

async function polish (word) {
  await sleep(1)
  return word.toUpperCase()
}

async function add (name, word) {
  for (;;) {
    const seen = pages.get(name)
    const next = { version: seen.version + 1, words: [...seen.words, await polish(word)] }
    if (pages.get(name).version !== seen.version) continue
    pages.set(name, next)
    return next.version
  }
}

export function build () {
  const app = Fastify()
  app.post('/pages/:page', async ({ params, body }) => ({ version: await add(params.page, body.word) }))
  app.get('/home', async () => pages.get('home'))
  return app
}
