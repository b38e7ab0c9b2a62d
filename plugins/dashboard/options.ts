import type { FastifyReply, FastifyRequest } from 'fastify'
import * as check from '../shared/options.ts'

/** Decides whether a request may see the dashboard and cancel jobs. An error that it throws is the answer, a 401 for example. */
export type Authorize = (request: FastifyRequest, reply: FastifyReply) => boolean | Promise<boolean>

/** The options of the dashboard. */
export interface DashboardOptions {
  /**
   * The path of the page. It begins with `/` and doesn't end with one.
   * @default '/dashboard'
   */
  path?: string
  /**
   * Decides who may see the dashboard and cancel jobs: only `true` lets a request pass. Without this option the dashboard is off in production
   * (NODE_ENV=production), and otherwise answers only clients on the same machine that come through no proxy.
   * @default undefined
   */
  authorize?: Authorize
}

/** Every option, for the test that compares them with the docs. @internal */
export const dashboardOptionNames = ['path', 'authorize'] as const satisfies ReadonlyArray<keyof DashboardOptions>

export interface ResolvedOptions {
  path: string
  authorize: Authorize | undefined
}

export function resolveOptions (options: DashboardOptions): ResolvedOptions {
  // Fastify adds the prefix of its own option, which the page's path follows.
  check.record('dashboard', options, [...dashboardOptionNames, 'prefix'])
  const { path = '/dashboard', authorize } = options
  check.ensure(check.isPath(path) && !path.endsWith('/'), 'dashboard.path', 'a path such as /dashboard, of letters, digits, and -._~', path)
  return { path, authorize: authorize === undefined ? undefined : check.fn<Authorize>('dashboard.authorize', authorize) }
}
