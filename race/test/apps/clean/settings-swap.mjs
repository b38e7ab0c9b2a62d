import Fastify from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'

let settings = Object.freeze({ version: 1, theme: 'light' })

export const requests = ['/', { method: 'PUT', url: '/', payload: { theme: 'dark' } }, '/']

export function build () {
  const app = Fastify()
  app.get('/', async () => {
    const mine = settings
    await wait(1)
    return { theme: mine.theme, version: mine.version }
  })
  app.put('/', async (request) => {
    const { theme } = request.body
    await wait(1)
    settings = Object.freeze({ ...settings, version: settings.version + 1, theme })
    return settings
  })
  return app
}
