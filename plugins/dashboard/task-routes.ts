/** The routes by which the page reads and changes stored tasks. The caller adds the guard. */
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteShorthandOptions } from 'fastify'
import { logSafely } from '../shared/log.ts'
import type { Payloads } from './options.ts'
import { act, failedTasks, inspected, storedTasksOf, type StoredTasks } from './stored-tasks.ts'

/** What the page asks with. Anybody may send anything. */
type Query = { Querystring: Partial<Record<'name' | 'id' | 'shown' | 'action' | 'payloads' | 'offset', unknown>> }

/** Errors that say that there are no stored tasks of this name. */
const unknownCodes: ReadonlySet<unknown> = new Set(['FC_ERR_TASK_UNKNOWN', 'FC_ERR_TASKS_NOT_STORED'])

/** Beyond it there is nothing: Redis keeps fewer failed tasks of a name. */
const MAX_OFFSET = 1_000_000_000

const textOf = (value: unknown): string | undefined => typeof value === 'string' && value !== '' ? value : undefined

/** Whom the log names: the user of basic authentication, if the request has it, and otherwise the address. */
export function operatorOf ({ headers: { authorization = '' }, ip }: FastifyRequest): string {
  const [, credentials = ''] = /^Basic ([\w+/=]{1,1000})$/i.exec(authorization) ?? []
  const [, user] = /^([^:]{1,100}):/.exec(Buffer.from(credentials, 'base64').toString()) ?? []
  return user ?? ip
}

/** @param note adds a line to the incidents */
export function addTaskRoutes (routes: FastifyInstance, shared: RouteShorthandOptions, payloads: Payloads | undefined,
  note: (subject: string, reason: string) => void): void {
  /** Answers with what `read` returns, or with 404 if it returns nothing, or no tasks of the name are stored. */
  async function answer (name: unknown, reply: FastifyReply,
    read: (tasks: StoredTasks, name: string) => Promise<object | undefined>): Promise<FastifyReply> {
    const [tasks, known] = [storedTasksOf(routes), textOf(name)]
    const found = tasks === undefined || known === undefined
      ? undefined
      : await read(tasks, known).catch((error: unknown) => {
        if (unknownCodes.has((error as { code?: unknown }).code)) return undefined
        throw error
      })
    return found === undefined
      ? await reply.code(404).send({ message: 'There is no such task or action, or no tasks of this name are stored' })
      : await reply.send(found)
  }

  const reads = { ...shared, exposeHeadRoute: false }

  routes.get<Query>('/tasks/inspect', reads, async ({ query: { name } }, reply) => answer(name, reply, inspected))

  routes.get<Query>('/tasks/failed', reads, async (request, reply) => {
    const { query: { name, id, payloads: wanted, offset } } = request
    const from = Math.min(Math.max(0, Math.trunc(Number(offset ?? 0)) || 0), MAX_OFFSET)
    const withPayloads = wanted === 'true' && payloads !== undefined
    return await answer(name, reply, async (tasks, name) => {
      const page = await failedTasks(tasks, name, from, textOf(id), withPayloads ? payloads : undefined)
      if (withPayloads) {
        logSafely(request.log, 'info', { task: name, operator: operatorOf(request) },
          'payloads of failed tasks were read on the dashboard')
      }
      return { ...page, hasPayloads: payloads !== undefined }
    })
  })

  routes.post<Query>('/tasks/act', shared, async (request, reply) => {
    const { query: { name, id, shown, action } } = request
    return await answer(name, reply, async (tasks, name) => {
      const stored = textOf(id) ?? ''
      // Redis's own id tells failed tasks of one id apart. Whoever reads the log knows the id that the page shows.
      const shownId = (textOf(shown) ?? stored).slice(0, 200)
      const acted = await act(tasks, action, name, stored, shownId)
      if (acted === undefined) return undefined
      logSafely(request.log, 'warn', {
        task: name,
        action,
        ...stored !== '' && { taskId: shownId, ...shownId !== stored && { storedId: stored } },
        operator: operatorOf(request)
      }, `${acted.log} on the dashboard`)
      note(`task ${name}`, `${acted.done} on the dashboard`)
      return { done: acted.done }
    })
  })
}
