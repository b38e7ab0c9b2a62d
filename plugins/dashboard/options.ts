import type { FastifyReply, FastifyRequest } from 'fastify'
import * as check from '../shared/options.ts'

/** Decides whether a request may see the dashboard and cancel jobs. An error that it throws is the answer, a 401 for example; anything else that it throws is a refusal. */
export type Authorize = (request: FastifyRequest, reply: FastifyReply) => boolean | Promise<boolean>

/** Returns what the page shows of the payload of a failed task, of the name of its tasks. */
export type Payloads = (name: string, payload: unknown) => unknown

/** The options of the dashboard. */
export interface DashboardOptions {
  /**
   * The path of the page. It begins with `/` and doesn't end with one.
   * @default '/dashboard'
   */
  path?: string
  /**
   * Decides who may see the dashboard and cancel jobs: only `true` lets a request pass. Without this option the dashboard is off in production
   * (NODE_ENV=production) and in a service that listens for other machines, and otherwise answers only clients on the same machine that come
   * through no proxy. Of each address, 20 requests a minute may be refused; further ones get 429 and aren't asked about.
   * @default undefined
   */
  authorize?: Authorize
  /**
   * The hosts, with or without a port, under which the dashboard answers with `authorize`. Set it if `authorize` goes by the client's address:
   * otherwise a page whose name an attacker points to the service is the dashboard's own for the browser of somebody who may see it.
   * @default any
   */
  hosts?: readonly string[]
  /**
   * Policies of the limiter, with `routes: 'named'`, that apply to the dashboard's requests. Without this option no limit applies to them.
   * @default []
   */
  policies?: readonly string[]
  /**
   * Shows clients' keys, which are their addresses unless the application says otherwise, in place of digests of them.
   * @default false
   */
  showKeys?: boolean
  /**
   * Says what the page shows of the payloads of failed tasks when its user asks for them: leave out what nobody may
   * read. Without this option payloads are not shown, since they may hold anything.
   * @default undefined
   */
  payloads?: Payloads
}

/** Every option, for the test that compares them with the docs. @internal */
export const dashboardOptionNames = ['path', 'authorize', 'hosts', 'policies', 'showKeys', 'payloads'] as const satisfies ReadonlyArray<keyof DashboardOptions>

export function resolveOptions (options: DashboardOptions) {
  // Fastify adds the prefix of its own option, which the page's path follows.
  check.record('dashboard', options, [...dashboardOptionNames, 'prefix'])
  const { path = '/dashboard', authorize, hosts } = options
  check.ensure(hosts === undefined || authorize !== undefined, 'dashboard.hosts', 'to be left out without dashboard.authorize: the hosts are those of this machine then', hosts)
  check.ensure(check.isPath(path) && !path.endsWith('/'), 'dashboard.path', 'a path such as /dashboard, of letters, digits, and -._~', path)
  return {
    path,
    authorize: authorize === undefined ? undefined : check.fn<Authorize>('dashboard.authorize', authorize),
    hosts: hosts === undefined ? undefined : check.array('dashboard.hosts', hosts).map((host, index) => check.text(`dashboard.hosts[${index}]`, host).toLowerCase()),
    policies: check.array('dashboard.policies', options.policies ?? []).map((name, index) => check.text(`dashboard.policies[${index}]`, name)),
    showKeys: check.boolean('dashboard.showKeys', options.showKeys ?? false),
    payloads: options.payloads === undefined ? undefined : check.fn<Payloads>('dashboard.payloads', options.payloads)
  }
}
