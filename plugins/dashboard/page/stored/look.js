// One name of stored tasks, looked at: what runs and where, what waits, what runs later and when, and its schedules.
import { act, ask, button } from '../ask.js'
import { confirmed } from '../confirm.js'
import { byId, duration, make, sentence, setText, timeOf } from '../dom.js'
import { closeFailed, openFailed, showFailedCount } from './failed.js'

/** @typedef {import('../../../tasks/index.ts').Inspection} Inspection */
/** @typedef {import('../../../tasks/index.ts').QueueStats} Queue */

/** While a name is looked at, its lists are read anew after so many ms. */
const INTERVAL = 5_000

/** The name that is looked at. @type {string | undefined} */
let open
let readAt = 0
const showRunning = listOf('Running', 'None runs.')
const showWaiting = listOf('Waiting', 'None waits.')
const showDelayed = listOf('Delayed and retrying', 'No task is delayed.')
const showSchedules = listOf('Schedules', 'There is no schedule.')
/** Counts questions, so that a late answer to an earlier one isn't shown. */
let question = 0

/** @param {string} name */
export async function look (name) {
  open = name
  setText(byId('task-title'), name)
  setText(byId('task-said'), '')
  show({ running: [], waiting: [], delayed: [], schedules: [] })
  byId('task').hidden = false
  await Promise.all([read(), openFailed(name)])
}

/** Is called about once a second. A page in the background reads nothing. @param {Queue[]} queues */
export function refresh (queues) {
  const queue = queues.find(({ name }) => name === open)
  if (queue === undefined) return close()
  showFailedCount(queue.failed)
  if (document.visibilityState === 'visible' && performance.now() - readAt >= INTERVAL) read()
}

function close () {
  open = undefined
  byId('task').hidden = true
  closeFailed()
}

async function read () {
  if (open === undefined) return
  readAt = performance.now()
  const asked = ++question
  const { answer, problem } = await ask('tasks/inspect', { name: open })
  if (asked !== question) return
  if (problem === undefined) show(answer)
  else setText(byId('task-said'), problem)
}

/** @param {Inspection} found */
function show ({ running, waiting, delayed, schedules }) {
  showRunning(running.map(({ id, process, attempt, startedAt }) => {
    const where = process === undefined ? '' : `on ${process}`
    const runs = `for ${duration(Math.max(0, Date.now() - startedAt))}`
    return item(id, [runs, where, attempt > 1 ? `attempt ${attempt}` : ''], '', [cancel(id)])
  }))
  showWaiting(waiting.map(({ id, enqueuedAt, waitsForKey }) => {
    const since = `enqueued ${duration(Math.max(0, Date.now() - enqueuedAt))} ago`
    return item(id, [since, waitsForKey ? 'waits for others of its key' : ''], '', [cancel(id)])
  }))
  showDelayed(delayed.map(({ id, attempts, runsAt, message }) => {
    const next = attempts === 0 ? when(runsAt) : `attempt ${attempts + 1} ${when(runsAt)}`
    // The next run of a schedule, which BullMQ has named: a schedule is ended in code.
    const isScheduled = id.includes(':repeat:')
    return item(id, [next], message ?? '', isScheduled ? [] : [cancel(id)])
  }))
  showSchedules(schedules.map(({ id, schedule, nextAt }) =>
    item(id, [wordsOf(schedule), when(nextAt)], '', [])))
}

/** @param {number} at */
function when (at) {
  const left = at - Date.now()
  const day = new Date(at).toLocaleDateString('en-CA')
  const time = day === new Date().toLocaleDateString('en-CA') ? timeOf(at) : `${day} ${timeOf(at)}`
  return left <= 0 ? 'now' : `in ${duration(left)}, at ${time}`
}

/** @param {Inspection['schedules'][number]['schedule']} schedule */
function wordsOf (schedule) {
  if ('every' in schedule) return `every ${duration(schedule.every)}`
  return `cron ${schedule.cron} (${schedule.timezone ?? 'UTC'})`
}

/** @param {string} id @param {string[]} parts @param {string} message @param {HTMLElement[]} buttons */
function item (id, parts, message, buttons) {
  const about = make('small', { text: ` ${parts.filter((part) => part !== '').join(' · ')}` })
  const line = make('div', { class: 'line' }, [make('div', {}, [make('code', { text: id }), about]), ...buttons])
  return make('li', {}, [line, ...(message === '' ? [] : [make('p', { text: message })])])
}

/** @param {string} id */
function cancel (id) {
  return button('Cancel', id, async () => {
    const name = open
    if (name === undefined || !await confirmed(`Cancel the task ${id}? It doesn't run again.`, 'Cancel it')) return
    const { said } = await act(name, 'cancel', id)
    await read()
    byId('task-said').replaceChildren(...sentence(said))
  })
}

/**
 * Makes a list, and returns the function that fills it. A list that is filled anew keeps the focus on the button that
 * has it.
 *
 * @param {string} title @param {string} nothing what is said while the list is empty
 */
function listOf (title, nothing) {
  const empty = make('p', { class: 'empty', text: nothing })
  const element = make('ul', { class: 'tasks' })
  byId('task-lists').append(make('section', { 'aria-label': title }, [make('h4', { text: title }), empty, element]))
  return (/** @type {HTMLElement[]} */ items) => fill(element, empty, items)
}

/** @param {HTMLElement} element @param {HTMLElement} empty @param {HTMLElement[]} items */
function fill (element, empty, items) {
  const nameOf = (/** @type {Element | null} */ each) => each?.getAttribute('aria-label')
  const focused = element.contains(document.activeElement) ? nameOf(document.activeElement) : undefined
  element.replaceChildren(...items)
  if (focused) [...element.querySelectorAll('button')].find((each) => nameOf(each) === focused)?.focus()
  empty.hidden = items.length > 0
}

byId('task-close').addEventListener('click', close)
