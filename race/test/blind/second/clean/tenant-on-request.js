// aws-samples/aws-saas-factory-bootcamp#72: the tenant is a property of the request, and a counter of the module counts the requests.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const products = { t1: ['chair'], t2: ['table'] }

export function build () {
  const app = Fastify()
  let served = 0
  app.decorateRequest('tenantId', '')
  app.addHook('onRequest', async (request) => { request.tenantId = request.headers['x-tenant'] })
  app.addHook('onResponse', async () => { served += 1 })
  app.get('/products', async (request) => {
    await sleep(2)
    return products[request.tenantId]
  })
  app.get('/served', async () => ({ served }))
  return app
}

export const requests = ['t1', 't2'].map((tenant) => ({ url: '/products', headers: { 'x-tenant': tenant } }))
