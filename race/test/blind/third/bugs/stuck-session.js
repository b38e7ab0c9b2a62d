// mattermost/mattermost-plugin-calls#742: a user leaves a call before the join has finished, and the session stays for ever.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const build = (isFixed) => () => {
  const app = Fastify()
  const call = { sessions: {}, left: {} }
  const connections = new Set(['c1'])

  async function handleJoin (connection) {
    await sleep(3)
    if (isFixed && !connections.has(connection)) return
    call.sessions[connection] = { user: 'ann' }
  }
  async function handleLeave (connection) {
    connections.delete(connection)
    await sleep(1)
    if (call.sessions[connection]) delete call.sessions[connection]
  }

  app.post('/join', async () => {
    if (!connections.has('c1')) return 'done'
    await handleJoin('c1')
    return 'done'
  })
  app.post('/leave', async () => { await handleLeave('c1'); return 'left' })
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = ['/join', '/leave'].map((url) => ({ method: 'POST', url }))
