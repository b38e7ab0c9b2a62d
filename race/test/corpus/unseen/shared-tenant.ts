// A query builder that is made once: the tenant is set on it before each query.
import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'
import { Table } from '../table.ts'

export const description = 'A request sets its tenant on the shared context of a query builder and awaits a query. The next query runs for another tenant.'

interface Context { tenant: string, locale: string }

const rows = new Table<string>({ 'acme/orders': 'orders of acme', 'acme/users': 'users of acme', 'globex/orders': 'orders of globex', 'globex/users': 'users of globex' })

class Builder {
  readonly context: Context

  constructor (context: Context) {
    this.context = context
  }

  as (tenant: string): this {
    this.context.tenant = tenant
    return this
  }

  async from (name: string): Promise<string | undefined> {
    return rows.find(`${this.context.tenant}/${name}`)
  }
}

const dashboard = async (builder: Builder, tenant: string): Promise<unknown> => {
  builder.as(tenant)
  const orders = await builder.from('orders')
  const users = await builder.from('users')
  return { orders, users }
}

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const builder = new Builder(shared({ tenant: '', locale: 'en' }, 'builder.context'))
  app.get<{ Params: { tenant: string } }>('/:tenant/dashboard', async ({ params }) => dashboard(builder, params.tenant))
  return app
}

function fixedApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const defaults = shared({ tenant: '', locale: 'en' }, 'defaults')
  app.get<{ Params: { tenant: string } }>('/:tenant/dashboard', async ({ params }) => dashboard(new Builder({ ...defaults }), params.tenant))
  return app
}

export const { racy, fixed } = pair({
  name: 'unseen/shared-tenant',
  source: 'pattern: per-request value on a shared object',
  requests: ['acme', 'globex'].map((tenant) => ({ url: `/${tenant}/dashboard` })),
  invariant (_app, responses) {
    assert.deepEqual(responses.map((response) => response.json<{ users: string }>().users), ['users of acme', 'users of globex'])
  }
}, racyApp, fixedApp)
