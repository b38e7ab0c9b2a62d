// The first lines of the page, the word beside its title, and who causes the load. The service decides what they say.
import { byId, count, make, row, sentence, setText, tableOf, timeOf } from './dom.js'

/** @typedef {import('../status/watch.ts').Status} Status */
/** @typedef {import('../status/who.ts').ShownKey} ShownKey */
/** @typedef {import('../status/who.ts').ShownWaiting} ShownWaiting */

const DOCS = 'https://github.com/fastify-concurrency/fastify-concurrency/blob/main/docs/'

/** @type {HTMLElement[]} */
let lines = []
/** The problems that the lines are about, with their links. */
let drawn = ''
let announced = ''

/** @param {Status} status */
export function showStatus ({ state, problems, serving }) {
  const texts = problems.length === 0 ? [`Serving. ${serving}`] : problems.map(wordsOf)
  show(state, problems.map(({ id }) => id).join(), texts, problems.map(({ docs }) => docs))
}

/** Says that nothing is known of the service, and why. @param {string} text */
export const showOutage = (text) => show('lost', 'outage', [text], [])

/**
 * @param {string} state
 * @param {string} kind what the lines are about
 * @param {string[]} texts
 * @param {string[]} docs the page of the documentation for each text, if there is one
 */
function show (state, kind, texts, docs) {
  byId('status').dataset['state'] = state
  // The cause of a problem may become another one, with another page to read.
  const about = [kind, ...docs].join(' ')
  if (drawn !== about || lines.length === 0) {
    drawn = about
    lines = texts.map((_, index) => {
      const text = make('span')
      const page = docs[index]
      if (page === undefined) return make('p', {}, [text])
      const link = make('a', { text: 'Read more' })
      link.href = DOCS + page
      link.target = '_blank'
      link.rel = 'noreferrer'
      return make('p', {}, [text, ' ', link])
    })
    byId('status').replaceChildren(...lines)
  }
  for (const [index, text] of texts.entries()) {
    const span = lines[index]?.firstChild
    if (span && span.textContent !== text.replaceAll('`', '')) /** @type {HTMLElement} */ (span).replaceChildren(...sentence(text))
  }
  // A screen reader is told when the kind of the trouble changes, and not each second.
  const told = `${state} ${kind}`
  if (announced === told) return
  announced = told
  setText(byId('announced'), texts[0]?.replaceAll('`', '') ?? '')
}

/** @param {Status['problems'][number]} problem */
function wordsOf ({ what, why, advice, since, time }) {
  return `${what}${time === 'unsaid' ? '' : ` ${time ?? 'since'} ${timeOf(since)}`}: ${why}.${advice === '' ? '' : ` ${advice}.`}`
}

// The keys with the most refusals and the most work, and the waiting jobs by name and key.
const fillKeys = tableOf('who', 'Who', 'in the last minute', ['Client', 'Refused', 'Thread time', 'Waiting now'])
const fillWaiting = tableOf('waiting', 'Waiting jobs', 'for a thread', ['Job', 'Client', 'Jobs'])

/** @param {{ keys: ShownKey[], waiting: ShownWaiting[] }} who */
export function showWho ({ keys, waiting }) {
  fillKeys(keys.map(({ client, work, waiting, refused }) => row(nameOf(client), [
    refused === 0 ? '–' : count(refused),
    work === 0 ? '–' : `${Math.round(work * 100)} %`,
    waiting === 0 ? '–' : count(waiting)
  ])))
  fillWaiting(waiting.map(({ pool, name, client, count: jobs }) =>
    row(pool === 'workers' ? name : `${pool}: ${name}`, [nameOf(client), count(jobs)])))
}

/** @param {string} client */
const nameOf = (client) => client === '' ? 'no key' : client
