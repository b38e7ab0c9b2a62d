/** What an operator sees and does of stored tasks: those that have failed, a retry, a discard, and a pause. */
import type { FastifyInstance } from 'fastify'
import type { FailedTask, Operating } from '../tasks/index.ts'
import type { Payloads } from './options.ts'

/** What the page needs of `app.tasks`, whose names are typed by the application. */
type Tasks = { [Call in Exclude<keyof Operating, 'failed'>]: (...given: never[]) => ReturnType<Operating[Call]> } & {
  failed: (...given: never[]) => Promise<FailedTask[]>
}

const actions = ['retry', 'retryAll', 'discard', 'discardAll', 'pause', 'resume'] as const
type Action = typeof actions[number]
const isAction = (value: unknown): value is Action => actions.includes(value as Action)

/** The failed tasks that the page reads at a time. */
const PAGE = 50
/** Characters of a payload, a message and a stack that the page is sent. */
const MAX_TEXT = 4_000

/** What the page shows of a failed task. */
export interface ShownFailed extends Pick<FailedTask, 'id' | 'storedId' | 'attempts' | 'enqueuedAt' | 'failedAt'> {
  message: string
  stack: string | undefined
  payload: string | undefined
}

/** Reads what has failed of a name; payloads only if `payloads` is given, which says what is shown of them. */
export async function failedTasks (app: FastifyInstance, name: string, offset: number, id: string | undefined,
  payloads: Payloads | undefined): Promise<ShownFailed[]> {
  const tasks = app.getDecorator<Tasks>('tasks')
  // A search reads all that one call may return: Redis has no index by id.
  const asked = id === undefined ? { offset, limit: PAGE } : { limit: 1_000 }
  const failed = await tasks.failed(...[name, { ...asked, payload: payloads !== undefined }] as never[])
  return failed.filter((task) => id === undefined || task.id.includes(id)).slice(0, PAGE).map((task) => shown(name, task, payloads))
}

function shown (name: string, task: FailedTask, payloads: Payloads | undefined): ShownFailed {
  const { id, storedId, attempts, enqueuedAt, failedAt, error, payload } = task
  return {
    id,
    storedId,
    attempts,
    enqueuedAt,
    failedAt,
    message: `${error.code === undefined ? '' : `${error.code}: `}${error.message}`.slice(0, MAX_TEXT),
    stack: error.stack?.slice(0, MAX_TEXT),
    payload: payloads === undefined ? undefined : textOf(payloads(name, payload))
  }
}

function textOf (value: unknown): string {
  try {
    return (JSON.stringify(value, null, 2) ?? '').slice(0, MAX_TEXT)
  } catch { // What the application's function returns may have a cycle.
    return 'it can\'t be shown'
  }
}

/**
 * Does what the operator asks for, and returns it in words, or undefined if the page asks for what there isn't.
 *
 * @throws the error of the call, such as FC_ERR_TASK_NOT_FOUND
 */
export async function act (app: FastifyInstance, action: unknown, name: string, id: string): Promise<string | undefined> {
  if (!isAction(action)) return undefined
  const tasks = app.getDecorator<Tasks>('tasks')
  const isOfOne = action === 'retry' || action === 'discard'
  if (isOfOne && id === '') return undefined
  const done = await tasks[action](...(isOfOne ? [name, id] : [name]) as never[])
  switch (action) {
    case 'retry': return `${id} was put back in line on the dashboard`
    case 'discard': return `${id} was discarded on the dashboard`
    case 'retryAll': return `${done} failed tasks were put back in line on the dashboard`
    case 'discardAll': return `${done} failed tasks were discarded on the dashboard`
    case 'pause': return 'it was paused on the dashboard'
    case 'resume': return 'its pause was ended on the dashboard'
  }
}
