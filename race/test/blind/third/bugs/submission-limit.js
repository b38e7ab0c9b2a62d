// snapshot-labs/snapshot-sequencer#217: the limit of a space is tested in verify(), and the proposal is counted in action().
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const build = (isFixed) => () => {
  const app = Fastify()
  const counts = { 'space.eth': 1 }
  const proposals = []
  const LIMIT = 2

  const writer = {
    async verify ({ space }) {
      if (counts[space] >= LIMIT) throw Object.assign(new Error('limit reached'), { statusCode: 400 })
      if (isFixed) counts[space]++
      await sleep(1)
    },
    async action ({ space, title }) {
      await sleep(1)
      proposals.push({ space, title })
      if (!isFixed) counts[space]++
    }
  }

  app.post('/propose/:title', async ({ params }) => {
    const message = { space: 'space.eth', title: params.title }
    await writer.verify(message)
    await writer.action(message)
    return { accepted: true }
  })
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = ['/propose/a', '/propose/b'].map((url) => ({ method: 'POST', url }))
