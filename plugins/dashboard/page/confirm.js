// Asks before what can't be undone.
import { byId, setText } from './dom.js'

const dialog = /** @type {HTMLDialogElement} */ (byId('confirm'))
const yes = /** @type {HTMLButtonElement} */ (byId('confirm-yes'))
const no = byId('confirm-no')

/** For this long, in ms, after the question has appeared under the pointer, a click was meant for what was there. */
const SETTLING = 500

/** Resolves to whether the user agrees. The key Enter, pressed again, doesn't. @param {string} question @param {string} action */
export function confirmed (question, action) {
  // A question that is open was put first.
  if (dialog.open) return Promise.resolve(false)
  setText(byId('confirm-question'), question)
  setText(yes, action)
  const openedAt = performance.now()
  dialog.showModal()
  no.focus()
  return new Promise((resolve) => {
    const decide = new AbortController()
    const { signal } = decide
    yes.addEventListener('click', ({ detail }) => {
      if (detail !== 0 && performance.now() - openedAt < SETTLING) return
      decide.abort()
      dialog.close()
      resolve(true)
    }, { signal })
    no.addEventListener('click', () => dialog.close(), { signal })
    dialog.addEventListener('close', () => {
      decide.abort()
      resolve(false)
    }, { signal })
  })
}
