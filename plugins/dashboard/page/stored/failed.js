// The tasks of a name that have failed for the last time, with a way back: fifty at a time, found by id.
import { act, ask, button } from '../ask.js'
import { confirmed } from '../confirm.js'
import { byId, make, sentence, setText, timeOf } from '../dom.js'

/** @typedef {import('../../stored-tasks.ts').ShownFailed} ShownFailed */

/** The name whose tasks are shown. @type {string | undefined} */
let open
/** Where the shown part begins, and where the parts before it did. @type {number[]} */
let offsets = [0]
/** Where the next part begins, if no task of this one is gone by then. @type {number | undefined} */
let next
/** Counts questions, so that a late answer to an earlier one isn't shown. */
let question = 0
/** The tasks of the shown part that were retried or discarded. Their rows stay: other rows would move under the pointer. */
let gone = 0
/** How many tasks of the name have failed. */
let failedCount = 0

const search = /** @type {HTMLInputElement} */ (byId('failed-search'))
const payloads = /** @type {HTMLInputElement} */ (byId('failed-payloads'))
const buttonOf = (/** @type {string} */ id) => /** @type {HTMLButtonElement} */ (byId(id))

/** @param {string} name */
export async function openFailed (name) {
  open = name
  search.value = ''
  payloads.checked = false
  byId('failed-rows').replaceChildren()
  await readFirst()
}

export function closeFailed () {
  open = undefined
}

/** @param {number} failed */
export function showFailedCount (failed) {
  failedCount = failed
  setText(byId('failed-title'), failed === 0 ? 'Failed' : `Failed (${failed})`)
  for (const id of ['retry-all', 'discard-all']) buttonOf(id).disabled = failed === 0
}

async function readFirst () {
  offsets = [0]
  await read()
}

async function read () {
  if (open === undefined) return
  const asked = ++question
  const { answer, problem } = await ask('tasks/failed', {
    name: open,
    offset: String(offsets.at(-1) ?? 0),
    ...(search.value !== '' && { id: search.value }),
    ...(payloads.checked && { payloads: 'true' })
  })
  if (asked !== question) return
  if (problem !== undefined) return say(problem)
  const tasks = /** @type {ShownFailed[]} */ (answer.tasks)
  next = answer.next
  gone = 0
  buttonOf('failed-older').disabled = next === undefined
  buttonOf('failed-newer').disabled = offsets.length === 1
  byId('failed-pages').hidden = next === undefined && offsets.length === 1
  byId('failed-payloads-label').hidden = !answer.hasPayloads
  byId('failed-rows').replaceChildren(...tasks.map(item))
  byId('failed-rows').hidden = tasks.length === 0
  setText(byId('failed-read'), `Read at ${timeOf(Date.now())}.`)
  say(tasks.length > 0 ? '' : emptyText())
}

function emptyText () {
  if (search.value === '') return offsets.length === 1 ? 'None has failed.' : 'There are no older ones.'
  return next === undefined
    ? 'No failed task has an id with this text.'
    : 'None of these 1,000 failed tasks has an id with this text: look at older ones.'
}

/** @param {string} text */
const say = (text) => byId('failed-said').replaceChildren(...sentence(text))

/** @param {ShownFailed} task */
function item ({ id, storedId, attempts, failedAt, message, stack, payload }) {
  const when = make('time', { text: `${new Date(failedAt).toLocaleDateString('en-CA')} ${timeOf(failedAt)}` })
  when.dateTime = new Date(failedAt).toISOString()
  const details = [
    ...(stack === undefined ? [] : [readable(stack, `Stack of ${id}`)]),
    ...(payload === undefined ? [] : [readable(payload, `Payload of ${id}`)])
  ]
  const summary = make('summary', { text: payload === undefined ? 'Stack' : 'Stack and payload' })
  const more = make('details', {}, [summary, ...details])
  const times = make('small', {}, [` ${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}, `, when])
  const state = make('small')
  /** @param {'retry' | 'discard'} action @param {string} word what the row is marked with */
  const change = async (action, word) => {
    if (open === undefined) return
    const [name, asked] = [open, question]
    for (const each of buttons) each.disabled = true
    const { isDone, said } = await act(name, action, storedId, id)
    if (isDone && asked === question) gone++
    if (isDone) setText(state, word)
    else for (const each of buttons) each.disabled = false
    if (name === open) say(said)
  }
  const buttons = [
    button('Retry', id, () => change('retry', 'put back in line')),
    button('Discard', id, async () => {
      const agrees = await confirmed(`Discard ${id}, with its payload? This can't be undone.`, 'Discard it')
      if (agrees) await change('discard', 'discarded')
    })
  ]
  return make('li', {}, [
    make('div', { class: 'line' }, [make('div', {}, [make('code', { text: id }), times]), state, ...buttons]),
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

/** @param {'retryAll' | 'discardAll'} action */
async function changeAll (action) {
  if (open === undefined) return
  const { said } = await act(open, action)
  await read()
  say(said)
}

search.addEventListener('input', () => readFirst())
payloads.addEventListener('change', read)
byId('failed-reload').addEventListener('click', read)
byId('failed-older').addEventListener('click', () => {
  if (next === undefined) return
  offsets.push(Math.max(0, next - gone))
  return read()
})
byId('failed-newer').addEventListener('click', () => {
  if (offsets.length > 1) offsets.pop()
  return read()
})
byId('retry-all').addEventListener('click', async () => {
  const agrees = await confirmed(`Put all failed tasks of ${open} back in line? Each runs again.`, 'Retry all')
  if (agrees) await changeAll('retryAll')
})
byId('discard-all').addEventListener('click', async () => {
  const question = `Discard all ${failedCount} failed tasks of ${open}, also those that a search hides, with their payloads? This can't be undone.`
  if (await confirmed(question, 'Discard all')) await changeAll('discardAll')
})
