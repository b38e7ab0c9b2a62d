// The stored tasks by name, and the processes that run them.
import { act, button, label } from '../ask.js'
import { confirmed } from '../confirm.js'
import { byId, count as compact, duration, make, row, sentence, setText, timeOf } from '../dom.js'
import { look, refresh } from './look.js'

/** @typedef {import('../../stored-tasks.ts').Stored} Stored */
/** @typedef {Stored['queues'][number]} Queue */
/** @typedef {import('../../../tasks/index.ts').ConsumingProcess} Process */

/** A process that was not seen for so long, in ms, is frozen or gone: it is seen every 5 s. */
const SILENT_MS = 15_000
/** The processes that the table holds. */
const MAX_PROCESSES = 50

/** @type {Map<string, { element: HTMLTableRowElement, state: HTMLElement, pause: HTMLButtonElement }>} */
const rows = new Map()
let answeredAt = Date.now()

/** @param {Stored} stored */
export function showStored ({ queues, processes, away }) {
  byId('stored').hidden = queues.length === 0 && rows.size === 0
  byId('stored').classList.toggle('past', away)
  if (!away) answeredAt = Date.now()
  setText(byId('stored-note'), away ? `of ${timeOf(answeredAt)}: Redis doesn't answer` : 'in Redis, of all processes')
  if (away) return
  for (const [name, { element }] of rows) {
    if (queues.some((queue) => queue.name === name)) continue
    element.remove()
    rows.delete(name)
  }
  for (const queue of queues) showQueue(queue)
  byId('processes').hidden = processes === undefined
  showProcesses(processes ?? [])
  refresh(queues)
}

/** @param {Queue} queue whose `processes` are undefined if nobody knows them */
function showQueue ({ name, waiting, delayed, running, failed, oldestMs, paused, processes: consumers }) {
  const { element: { cells }, state, pause } = rows.get(name) ?? addRow(name)
  const texts = [compact(waiting), waiting === 0 ? '–' : duration(oldestMs), compact(delayed), compact(running),
    compact(failed), consumers === undefined ? '–' : consumers === 0 ? 'none' : compact(consumers)]
  for (const [index, text] of texts.entries()) setText(/** @type {HTMLElement} */ (cells[index + 1]), text)
  cells[5]?.classList.toggle('bad', failed > 0)
  cells[6]?.classList.toggle('warn', consumers === 0)
  setText(state, paused ? 'paused' : '')
  label(pause, paused ? 'Resume' : 'Pause', name)
}

/** @param {string} name */
function addRow (name) {
  const opener = make('button', { class: 'plain', text: name, 'aria-controls': 'task' })
  opener.type = 'button'
  opener.addEventListener('click', () => look(name))
  const state = make('small', { class: 'state' })
  const pause = button('Pause', name, () => pauseOrResume(name, pause.textContent === 'Resume'))
  const element = row([opener, ' ', state], ['', '', '', '', '', '', pause])
  byId('stored-rows').append(element)
  const added = { element, state, pause }
  rows.set(name, added)
  return added
}

/** @param {string} name @param {boolean} isPaused */
async function pauseOrResume (name, isPaused) {
  const question = `Pause ${name}? Its tasks wait until you resume it.`
  if (!isPaused && !await confirmed(question, 'Pause it')) return
  const { said } = await act(name, isPaused ? 'resume' : 'pause')
  byId('stored-said').replaceChildren(...sentence(said))
}

/** @param {Process[]} processes those that were seen last first */
function showProcesses (processes) {
  const shown = processes.slice(0, MAX_PROCESSES)
  byId('processes-rows').replaceChildren(...shown.map(({ name, consumes, concurrency, startedAt, seenMs }) => {
    const isSilent = seenMs >= SILENT_MS
    const since = duration(Math.max(0, Date.now() - startedAt))
    const seen = make('span', { text: isSilent ? `${duration(seenMs)} ago: gone or frozen` : 'now', class: isSilent ? 'warn' : '' })
    return row(name, [consumes.join(', '), compact(concurrency), since, seen])
  }))
}
