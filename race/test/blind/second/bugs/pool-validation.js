// coopernurse/node-pool#132: a resource stays among the available ones while it is validated, so two borrowers get it.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const build = (isFixed) => () => {
  const app = Fastify()
  const available = [{ id: 1, owner: null }, { id: 2, owner: null }]
  const validateAsync = async () => { await sleep(2); return true }

  async function dispense (owner) {
    if (isFixed) {
      const resource = available.shift()
      await validateAsync(resource)
      resource.owner = owner
      return resource
    }
    const resource = available[0]
    if (await validateAsync(resource)) {
      available.splice(available.indexOf(resource), 1)
      resource.owner = owner
    }
    return resource
  }

  app.get('/borrow/:who', async ({ params: { who } }) => {
    const resource = await dispense(who)
    await sleep(1)
    return { mine: resource.owner === who }
  })
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = ['/borrow/a', '/borrow/b']
