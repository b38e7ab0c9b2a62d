import { setImmediate as turn } from 'node:timers/promises'
import Fastify from 'fastify'

let visits = 0
const app = Fastify()
app.get('/', async () => {
  const before = visits
  await turn()
  visits = before + 1
})
await Promise.all([app.inject('/'), app.inject('/')])
await app.close()
