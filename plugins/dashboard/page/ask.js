// How the page asks the service, and has it act. Behind a load balancer, another process than the one that the page
// shows may get the question, so each question names it.
import { byId, make, setText } from './dom.js'

const SILENT = 'The service doesn\'t answer.'

let process = ''

/** @param {string} shown its name, and after a slash what tells it from others of the name */
export function showProcess (shown) {
  process = shown
  setText(byId('process'), shown.split('/', 1)[0] ?? '')
}

/**
 * Resolves to the answer, or to what went wrong.
 *
 * @param {string} path @param {Record<string, string>} [query] @param {RequestInit} [init]
 */
export async function ask (path, query, init) {
  try {
    const response = await fetch(`${path}?${new URLSearchParams({ ...query, process })}`, init)
    const answer = await response.json()
    return response.ok ? { answer } : { problem: String(answer.message) }
  } catch {
    return { problem: SILENT }
  }
}

/**
 * Resolves to what was done, or why it was not, in words, whose names are between backticks.
 *
 * @param {string} name @param {string} action @param {string} [id] @param {string} [shown] the id that the page shows
 */
export async function act (name, action, id = '', shown = id) {
  const { answer, problem } = await ask('tasks/act', { action, name, id, shown }, { method: 'POST' })
  return { isDone: problem === undefined, said: problem ?? `${answer.done}.` }
}

/**
 * Names a button for the eye, and with its object for a screen reader.
 *
 * @param {HTMLButtonElement} element @param {string} text @param {string} object
 */
export function label (element, text, object) {
  setText(element, text)
  element.setAttribute('aria-label', `${text} ${object}`)
}

/** @param {string} text @param {string} object @param {() => unknown} onClick */
export function button (text, object, onClick) {
  const element = make('button')
  element.type = 'button'
  label(element, text, object)
  element.addEventListener('click', onClick)
  return element
}
