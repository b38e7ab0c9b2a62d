// CVEProject/cve-services#1767: an organisation is loaded, its list of admins is filtered, and the organisation is saved.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

function repository () {
  const rows = new Map([['org', JSON.stringify({ name: 'org', admins: ['ada', 'bob', 'eve'] })]])
  return {
    async findOne (id) {
      await sleep(1)
      return JSON.parse(rows.get(id))
    },
    async save (org) {
      await sleep(1)
      rows.set(org.name, JSON.stringify(org))
    },
    async pull (id, admin) {
      await sleep(1)
      const org = JSON.parse(rows.get(id))
      org.admins = org.admins.filter((each) => each !== admin)
      rows.set(id, JSON.stringify(org))
    }
  }
}

const build = (isFixed) => () => {
  const app = Fastify()
  const orgs = repository()
  app.delete('/admin/:name', async ({ params: { name } }) => {
    if (isFixed) {
      await orgs.pull('org', name)
      return { removed: name }
    }
    const org = await orgs.findOne('org')
    org.admins = org.admins.filter((each) => each !== name)
    await orgs.save(org)
    return { removed: name }
  })
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = [{ method: 'DELETE', url: '/admin/ada' }, { method: 'DELETE', url: '/admin/bob' }]
