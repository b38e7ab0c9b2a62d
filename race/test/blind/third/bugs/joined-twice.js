// dyc3/opentogethertube#248: several connections of one user start at once, and each joins the room.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const build = (isFixed) => () => {
  const app = Fastify()
  const room = { users: [], grabbed: new Set() }

  async function join (token) {
    for (const user of room.users) {
      if (user.token === token) return user
    }
    if (isFixed) {
      const user = { token, name: '' }
      room.users.push(user)
      user.name = await sleep(2, 'ann')
      return user
    }
    const name = await sleep(2, 'ann')
    const user = { token, name }
    room.users = [...room.users, user]
    return user
  }

  app.get('/connect/:token', async ({ params }) => {
    await join(params.token)
    return { users: room.users.length }
  })
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = ['/connect/t1', '/connect/t1']
