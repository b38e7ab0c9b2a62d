// Stored tasks: what of each name waits and runs, and what has failed, with a way back.
import { confirmed } from './confirm.js'
import { byId, count as compact, duration, make, setText, timeOf } from './dom.js'

/** @typedef {import('../../metrics/index.ts').QueueMetrics} QueueMetrics */
/** @typedef {import('../stored-tasks.ts').ShownFailed} ShownFailed */

/** @type {QueueMetrics[]} */
let known = []
/** The name whose tasks are looked at. @type {string | undefined} */
let open
/** @type {Map<string, { element: HTMLElement, cells: HTMLElement[], paused: HTMLElement }>} */
const rows = new Map()

const search = /** @type {HTMLInputElement} */ (byId('failed-search'))
const payloads = /** @type {HTMLInputElement} */ (byId('failed-payloads'))

/** @param {QueueMetrics[]} queues none if tasks are in memory, or Redis doesn't answer */
export function showQueues (queues) {
  known = queues
  byId('stored').hidden = queues.length === 0
  for (const [name, { element }] of rows) {
    if (queues.some((queue) => queue.name === name)) continue
    element.remove()
    rows.delete(name)
  }
  for (const queue of queues) {
    const { cells, paused } = rows.get(queue.name) ?? addRow(queue.name)
    const { waiting, delayed, running, failed, oldestMs } = queue
    const texts = [compact(waiting), compact(delayed), compact(running), compact(failed), waiting === 0 ? '–' : duration(oldestMs)]
    for (const [index, text] of texts.entries()) setText(/** @type {HTMLElement} */ (cells[index]), text)
    cells[3]?.classList.toggle('bad', failed > 0)
    setText(paused, queue.paused ? ' paused' : '')
  }
  showState()
}

/** @param {string} name */
function addRow (name) {
  const button = make('button', { class: 'plain', text: name, 'aria-controls': 'failed' })
  button.type = 'button'
  button.addEventListener('click', () => look(name))
  const paused = make('small')
  const title = make('th', {}, [button, paused])
  title.scope = 'row'
  const cells = Array.from({ length: 5 }, () => make('td'))
  const element = make('tr', {}, [title, ...cells])
  byId('stored-rows').append(element)
  const row = { element, cells, paused }
  rows.set(name, row)
  return row
}

/** @param {string} name */
async function look (name) {
  open = name
  search.value = ''
  payloads.checked = false
  byId('failed').hidden = false
  setText(byId('failed-title'), `Failed tasks of ${name}`)
  showState()
  await read()
}

function showState () {
  const queue = known.find(({ name }) => name === open)
  if (queue === undefined) {
    byId('failed').hidden = true
    return
  }
  setText(byId('task-pause'), queue.paused ? 'Resume' : 'Pause')
  for (const id of ['retry-all', 'discard-all']) /** @type {HTMLButtonElement} */ (byId(id)).disabled = queue.failed === 0
}

/** Counts questions, so that a late answer to an earlier one isn't shown. */
let asked = 0

async function read () {
  if (open === undefined) return
  const question = ++asked
  const query = new URLSearchParams({ name: open, ...(search.value !== '' && { id: search.value }), ...(payloads.checked && { payloads: 'true' }) })
  try {
    const response = await fetch(`tasks/failed?${query}`)
    const answer = await response.json()
    if (question !== asked) return
    if (!response.ok) return say(answer.message)
    const tasks = /** @type {ShownFailed[]} */ (answer.tasks)
    byId('failed-payloads-label').hidden = !answer.hasPayloads
    byId('failed-rows').replaceChildren(...tasks.map(item))
    say(tasks.length > 0 ? '' : search.value === '' ? 'None has failed.' : 'No failed task has this in its id.')
  } catch {
    say('The service doesn\'t answer.')
  }
}

/** @param {string} text */
const say = (text) => setText(byId('failed-said'), text)

/** @param {ShownFailed} task */
function item ({ id, storedId, attempts, failedAt, message, stack, payload }) {
  const when = make('time', { text: `${new Date(failedAt).toLocaleDateString('en-CA')} ${timeOf(failedAt)}` })
  when.dateTime = new Date(failedAt).toISOString()
  const details = [
    ...(stack === undefined ? [] : [readable(stack, `Stack of ${id}`)]),
    ...(payload === undefined ? [] : [readable(payload, `Payload of ${id}`)])
  ]
  const more = make('details', {}, [make('summary', { text: payload === undefined ? 'Stack' : 'Stack and payload' }), ...details])
  return make('li', {}, [
    make('div', {}, [make('code', { text: id }), make('small', {}, [` ${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}, `, when])]),
    make('div', { class: 'actions' }, [
      button('Retry', id, () => act('retry', storedId)),
      button('Discard', id, async () => {
        if (await confirmed(`Discard ${id}, with its payload? It can't be had back.`, 'Discard it')) await act('discard', storedId)
      })
    ]),
    make('p', { text: message }),
    ...(details.length === 0 ? [] : [more])
  ])
}

/** A text that may be longer than its place, and that the keyboard scrolls. @param {string} text @param {string} label */
function readable (text, label) {
  const element = make('pre', { text, 'aria-label': label })
  element.setAttribute('role', 'region')
  element.tabIndex = 0
  return element
}

/** @param {string} text @param {string} id @param {() => unknown} onClick */
function button (text, id, onClick) {
  const element = make('button', { text, 'aria-label': `${text} ${id}` })
  element.type = 'button'
  element.addEventListener('click', onClick)
  return element
}

/** @param {string} action @param {string} [id] */
async function act (action, id = '') {
  if (open === undefined) return
  const response = await fetch(`tasks/act?${new URLSearchParams({ action, name: open, id })}`, { method: 'POST' }).catch(() => undefined)
  await read()
  const answer = await response?.json()
  say(response === undefined ? 'The service doesn\'t answer.' : response.ok ? `Done: ${answer.done}.` : answer.message)
}

search.addEventListener('input', read)
payloads.addEventListener('change', read)
byId('failed-close').addEventListener('click', () => {
  open = undefined
  byId('failed').hidden = true
})
byId('task-pause').addEventListener('click', async () => {
  if (byId('task-pause').textContent === 'Resume') return await act('resume')
  if (await confirmed(`Pause ${open}? No process begins one of its tasks until you resume it.`, 'Pause it')) await act('pause')
})
byId('retry-all').addEventListener('click', async () => {
  if (await confirmed(`Put all failed tasks of ${open} back in line? Each runs again.`, 'Retry all')) await act('retryAll')
})
byId('discard-all').addEventListener('click', async () => {
  if (await confirmed(`Discard all failed tasks of ${open}, with their payloads? They can't be had back.`, 'Discard all')) await act('discardAll')
})
