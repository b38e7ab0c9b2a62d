// Who causes the load: the keys with the most refusals and the most work, and the waiting jobs by name and key.
import { byId, count, make } from './dom.js'

/** @typedef {import('../who.ts').ShownKey} ShownKey */
/** @typedef {import('../who.ts').ShownWaiting} ShownWaiting */

/** @param {{ keys: ShownKey[], waiting: ShownWaiting[] }} who */
export function showWho ({ keys, waiting }) {
  byId('who').hidden = keys.length === 0
  byId('who-rows').replaceChildren(...keys.map(({ client, work, waiting, refused }) => row(nameOf(client), [
    refused === 0 ? '–' : count(refused),
    work === 0 ? '–' : `${Math.round(work * 100)} %`,
    waiting === 0 ? '–' : count(waiting)
  ])))
  byId('waiting').hidden = waiting.length === 0
  byId('waiting-rows').replaceChildren(...waiting.map(({ pool, name, client, count: jobs }) =>
    row(pool === 'workers' ? name : `${pool}: ${name}`, [nameOf(client), count(jobs)])))
}

/** @param {string} client */
const nameOf = (client) => client === '' ? 'no key' : client

/** @param {string} name @param {string[]} cells */
function row (name, cells) {
  const title = make('th', { text: name })
  title.scope = 'row'
  return make('tr', {}, [title, ...cells.map((text) => make('td', { text }))])
}
