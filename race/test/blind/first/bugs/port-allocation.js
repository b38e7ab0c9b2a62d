// eesast/api#1346, terascope/teraslice#114: a port that is free is looked for, something starts there, and then the port is noted as taken.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const build = (isFixed) => () => {
  const app = Fastify()
  const used = []
  const rooms = {}

  const freePort = () => {
    for (let port = 8000; port < 8010; port++) if (used.indexOf(port) === -1) return port
    return undefined
  }

  app.post('/room/:name', async ({ params: { name } }, reply) => {
    const port = freePort()
    if (port === undefined) return reply.code(503).send({ error: 'no port' })
    if (isFixed) used.push(port)
    await sleep(2) // the container starts
    if (!isFixed) used.push(port)
    rooms[name] = port
    return { room: name }
  })
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = [{ method: 'POST', url: '/room/a' }, { method: 'POST', url: '/room/b' }]
