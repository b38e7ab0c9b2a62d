// The process that the page shows. Behind a load balancer, another one may get what the page asks for.
import { byId, setText } from './dom.js'

let shown = ''

/** @param {string} process its name, and after a slash what tells it from others of the name */
export function showProcess (process) {
  shown = process
  setText(byId('process'), process.split('/', 1)[0] ?? '')
}

/** What says in a query which process is asked. */
export const ownProcess = () => String(new URLSearchParams({ process: shown }))
