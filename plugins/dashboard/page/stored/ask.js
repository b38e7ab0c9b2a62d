// How the page asks the service about stored tasks, and has it act on them.
import { make } from '../dom.js'

const SILENT = 'The service doesn\'t answer.'

/**
 * Resolves to the answer, or to what went wrong.
 *
 * @param {string} path @param {Record<string, string>} query @param {RequestInit} [init]
 */
async function ask (path, query, init) {
  try {
    const response = await fetch(`tasks/${path}?${new URLSearchParams(query)}`, init)
    const answer = await response.json()
    return response.ok ? { answer } : { problem: String(answer.message) }
  } catch {
    return { problem: SILENT }
  }
}

/** @param {'inspect' | 'failed'} path @param {Record<string, string>} query */
export const get = async (path, query) => await ask(path, query)

/**
 * Resolves to what was done, or why it was not, in words, whose names are between backticks.
 *
 * @param {string} name @param {string} action @param {string} [id] @param {string} [shown] the id that the page shows
 */
export async function act (name, action, id = '', shown = id) {
  const { answer, problem } = await ask('act', { action, name, id, shown }, { method: 'POST' })
  return { isDone: problem === undefined, said: problem ?? `${answer.done}.` }
}

/**
 * A button that is named for the eye, and with its object for a screen reader.
 *
 * @param {string} text @param {string} object @param {() => unknown} onClick
 */
export function button (text, object, onClick) {
  const element = make('button', { text, 'aria-label': `${text} ${object}` })
  element.type = 'button'
  element.addEventListener('click', onClick)
  return element
}
