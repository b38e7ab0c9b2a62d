// aws-samples/aws-saas-factory-bootcamp#72: the tenant of a request is kept in a variable of the module while the database is asked.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const products = { t1: ['chair'], t2: ['table'] }

const build = (isFixed) => () => {
  const app = Fastify()
  let tenantId = ''
  const db = { async connect () { await sleep(2) }, async scan (tenant) { await sleep(1); return products[tenant] } }

  app.addHook('onRequest', async (request) => {
    request.tenantId = request.headers['x-tenant']
    tenantId = request.headers['x-tenant']
  })
  app.get('/products', async (request) => {
    await db.connect()
    return db.scan(isFixed ? request.tenantId : tenantId)
  })
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = ['t1', 't2'].map((tenant) => ({ url: '/products', headers: { 'x-tenant': tenant } }))
