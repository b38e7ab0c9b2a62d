/** What an operator sees and does of stored tasks: their numbers and processes, and what runs and fails of a name. */
import type { FastifyInstance } from 'fastify'
import type { ConsumingProcess, FailedTask, Inspection, Operating, QueueStats } from '../tasks/index.ts'
import { ownDecorator } from '../shared/drainables.ts'
import type { Payloads } from './options.ts'
import { code, plural } from './words.ts'

type Calls = Exclude<keyof Operating, 'failed'>
/** What the page needs of `app.tasks`, whose names are typed by the application. */
export type StoredTasks = { [Call in Calls]: (...given: never[]) => ReturnType<Operating[Call]> } & {
  failed: (...given: never[]) => Promise<FailedTask[]>
  queues (): Promise<QueueStats[]>
  cancel (id: string): Promise<boolean>
}

/** What the pages are sent while one is open. */
export interface Stored {
  /** Empty if no tasks are stored. */
  queues: QueueStats[]
  /** Undefined if the application's own engine doesn't know them. */
  processes: ConsumingProcess[] | undefined
  /** Redis doesn't answer, so nothing is known now. */
  away: boolean
}

/** The failed tasks that the page reads at a time, and the tasks and schedules of each other list. */
const PAGE = 50
/** The failed tasks among which one search looks: Redis has no index by id. */
const SEARCHED = 1_000
/** Characters of a payload, a message and a stack that the page is sent. */
const MAX_TEXT = 4_000

/** What the page shows of a failed task. */
export interface ShownFailed extends Pick<FailedTask, 'id' | 'storedId' | 'attempts' | 'failedAt'> {
  message: string
  stack: string | undefined
  payload: string | undefined
}

/** A part of the failed tasks of a name, the latest first. */
export interface FailedPage {
  tasks: ShownFailed[]
  /** Where the next part begins; undefined after the last one. */
  next: number | undefined
}

/** Returns the tasks plugin of the suite, if the application has it. */
export function storedTasksOf (app: FastifyInstance): StoredTasks | undefined {
  return ownDecorator<StoredTasks>(app, 'tasks', 'tasks')
}

/** Asks Redis for what the pages show all the time. It never rejects. */
export async function readStored (tasks: StoredTasks): Promise<Stored> {
  try {
    const queues = await tasks.queues()
    const processes = queues.length === 0
      ? []
      : await tasks.processes().catch((error: Error & { code?: unknown }) => {
        if (error.code !== 'FC_ERR_TASKS_NOT_STORED') throw error
        return undefined
      })
    return { queues, processes, away: false }
  } catch {
    return { queues: [], processes: [], away: true }
  }
}

/** Reads what runs, what waits and what runs later of a name. */
export async function inspected (tasks: StoredTasks, name: string): Promise<Inspection> {
  const found = await tasks.inspect(...[name, { limit: PAGE }] as never[])
  return { ...found, delayed: found.delayed.map((task) => ({ ...task, message: task.message?.slice(0, MAX_TEXT) })) }
}

/**
 * Reads what has failed of a name, from an offset on; payloads only if `payloads` is given, which says what is shown of
 * them. A search looks at so many more tasks, and reads the payloads of those that it finds.
 *
 * @param id what the ids of the tasks hold that are searched
 */
export async function failedTasks (tasks: StoredTasks, name: string, offset: number, id: string | undefined,
  payloads: Payloads | undefined): Promise<FailedPage> {
  const read = async (offset: number, limit: number, payload: boolean): Promise<FailedTask[]> =>
    await tasks.failed(...[name, { offset, limit, payload }] as never[])
  if (id === undefined) {
    const failed = await read(offset, PAGE, payloads !== undefined)
    return { tasks: failed.map((task) => shown(name, task, payloads)), next: nextOf(failed.length, PAGE, offset) }
  }
  const all = (await read(offset, SEARCHED, false)).map((task, index) => ({ task, at: offset + index }))
  const found = all.filter(({ task }) => task.id.includes(id))
  const part = found.slice(0, PAGE)
  const whole = payloads === undefined
    ? part.map(({ task }) => task)
    : await Promise.all(part.map(async ({ task, at }) =>
      // Another task is there by now if one has failed meanwhile.
      (await read(at, 1, true)).find(({ storedId }) => storedId === task.storedId) ?? task))
  return {
    tasks: whole.map((task) => shown(name, task, payloads)),
    next: found[PAGE]?.at ?? nextOf(all.length, SEARCHED, offset)
  }
}

function nextOf (read: number, limit: number, offset: number): number | undefined {
  return read < limit ? undefined : offset + limit
}

function shown (name: string, task: FailedTask, payloads: Payloads | undefined): ShownFailed {
  const { id, storedId, attempts, failedAt, error, payload } = task
  return {
    id,
    storedId,
    attempts,
    failedAt,
    message: `${error.code === undefined ? '' : `${error.code}: `}${error.message}`.slice(0, MAX_TEXT),
    stack: error.stack?.slice(0, MAX_TEXT),
    payload: payloads === undefined || !('payload' in task) ? undefined : textOf(payloads(name, payload))
  }
}

function textOf (value: unknown): string {
  try {
    return (JSON.stringify(value, null, 2) ?? '').slice(0, MAX_TEXT)
  } catch { // What the application's function returns may have a cycle.
    return 'it can\'t be shown'
  }
}

/** What each action did, for the page, after what it was done to, and for the log. */
const actions = {
  cancel: ['was cancelled', 'a stored task was cancelled'],
  retry: ['was put back in line', 'a failed task was put back in line'],
  retryAll: ['put back in line', 'all failed tasks of a name were put back in line'],
  discard: ['was discarded', 'a failed task was discarded'],
  discardAll: ['discarded', 'all failed tasks of a name were discarded'],
  pause: ['is paused', 'a name of stored tasks was paused'],
  resume: ['runs again', 'a name of stored tasks was resumed']
} as const
type Action = keyof typeof actions
const isAction = (value: unknown): value is Action => typeof value === 'string' && Object.hasOwn(actions, value)
const needsId: ReadonlySet<unknown> = new Set<Action>(['cancel', 'retry', 'discard'])

/** What was done, for the page, and for the line in the log. */
export interface Done {
  done: string
  log: string
}

/**
 * Does what the operator asks for, and returns it in words, or undefined if the page asks for what there isn't. Names
 * in the words for the page are between backticks.
 *
 * @param shownId the id that the page shows of the task: Redis has several failed tasks of one id
 * @throws the error of the call, such as FC_ERR_TASK_NOT_FOUND
 */
export async function act (tasks: StoredTasks, action: unknown, name: string, id: string,
  shownId: string): Promise<Done | undefined> {
  if (!isAction(action) || (needsId.has(action) && id === '')) return undefined
  const [done, log] = actions[action]
  if (action === 'cancel') {
    const isCancelled = id.startsWith(`${name}:`) && await tasks.cancel(id)
    return isCancelled ? { done: `${code(shownId)} ${done}`, log } : undefined
  }
  const given = needsId.has(action) ? [name, id] : [name]
  const count = await tasks[action](...given as never[])
  const tasksOf = count === undefined ? code(name) : plural(Number(count), 'failed task was', 'failed tasks were')
  return { done: `${needsId.has(action) ? code(shownId) : tasksOf} ${done}`, log }
}
