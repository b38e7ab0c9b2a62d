// ndycode/codex-multi-auth#372: the response to an older request overwrites the id that a newer request has stored.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const build = (isFixed) => () => {
  const app = Fastify()
  const affinity = new Map()
  let version = 0

  async function complete (prompt) {
    await sleep(prompt === 'long' ? 5 : 1)
    return { responseId: `response-to-${prompt}` }
  }

  app.post('/chat/:prompt', async ({ params: { prompt } }) => {
    const writeVersion = ++version
    const previous = affinity.get('session')
    const { responseId } = await complete(prompt)
    const current = affinity.get('session')
    if (isFixed && current !== undefined && current.version > writeVersion) return { responseId, after: previous?.responseId ?? null }
    affinity.set('session', { responseId, version: writeVersion })
    return { responseId, after: previous?.responseId ?? null }
  })
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = [{ method: 'POST', url: '/chat/long' }, { method: 'POST', url: '/chat/short' }]
