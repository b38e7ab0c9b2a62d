// The first lines of the page, and the word beside its title. The service decides what they say.
import { byId, make, setText, timeOf } from './dom.js'

/** @typedef {import('../watch.ts').Status} Status */

const DOCS = 'https://github.com/fastify-concurrency/fastify-concurrency/blob/main/docs/'

/** A text whose names between backticks are drawn as code. @param {string} text */
export const sentence = (text) => text.split('`').map((part, index) => index % 2 === 0 ? part : make('code', { text: part }))

/** @type {HTMLElement[]} */
let lines = []
/** The problems that the lines are about, with their links. @type {string | undefined} */
let drawn
let announced = ''

/** @param {Status} status */
export function showStatus ({ state, problems, serving }) {
  const texts = problems.length === 0 ? [`Serving. ${serving}`] : problems.map(wordsOf)
  byId('status').dataset['state'] = state
  const kinds = problems.map(({ id }) => id).join()
  // The cause of a problem may become another one, with another page to read.
  const links = problems.map(({ id, docs }) => `${id} ${docs}`).join()
  if (drawn !== links) {
    drawn = links
    lines = texts.map((_, index) => {
      const text = make('span')
      const docs = problems[index]?.docs
      if (docs === undefined) return make('p', {}, [text])
      const link = make('a', { text: 'Read more' })
      link.href = DOCS + docs
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
  const told = `${state} ${kinds}`
  if (announced === told) return
  announced = told
  setText(byId('announced'), texts[0]?.replaceAll('`', '') ?? '')
}

/** @param {Status['problems'][number]} problem */
function wordsOf ({ what, why, advice, since }) {
  return `${what} since ${timeOf(since)}: ${why}.${advice === '' ? '' : ` ${advice}.`}`
}
