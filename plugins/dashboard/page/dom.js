// Elements and texts. Nothing here makes HTML of a text: names and errors are data.

/** @param {string} id */
export const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id))

/**
 * Makes an element.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {{ class?: string, text?: string, [attribute: `data-${string}` | `aria-${string}`]: string }} [attributes]
 * @param {Array<Node | string>} [children]
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make (tag, { class: className, text, ...attributes } = {}, children = []) {
  const element = document.createElement(tag)
  if (className !== undefined) element.className = className
  if (text !== undefined) element.textContent = text
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  element.append(...children)
  return element
}

/**
 * Makes a row of a table, whose first cell names it.
 *
 * @param {string | Array<Node | string>} title @param {Array<Node | string>} cells
 */
export function row (title, cells) {
  const head = make('th', {}, [title].flat())
  head.scope = 'row'
  return make('tr', {}, [head, ...cells.map((cell) => make('td', {}, [cell]))])
}

/**
 * Makes a panel with a table, hidden while the table has no rows. Returns the function that fills it.
 *
 * @param {string} id @param {string} title @param {string} note @param {string[]} columns
 */
export function tableOf (id, title, note, columns) {
  const body = make('tbody')
  body.id = `${id}-rows`
  const heads = columns.map((text) => make('th', { text }))
  for (const head of heads) head.scope = 'col'
  const panel = make('section', { class: 'panel', 'aria-label': title }, [
    make('h2', {}, [`${title} `, make('span', { text: note })]),
    make('table', {}, [make('thead', {}, [make('tr', {}, heads)]), body])
  ])
  byId('lists').append(panel)
  panel.hidden = true
  return (/** @type {HTMLElement[]} */ rows) => {
    panel.hidden = rows.length === 0
    body.replaceChildren(...rows)
  }
}

/** Sets a text only if it differs: a change of the document costs a layout. @param {Node} node @param {string} text */
export function setText (node, text) {
  if (node.textContent !== text) node.textContent = text
}

/** A text whose names between backticks are drawn as code. @param {string} text */
export const sentence = (text) => text.split('`').map((part, index) => index % 2 === 0 ? part : make('code', { text: part }))

const compact = new Intl.NumberFormat('en', { maximumSignificantDigits: 3, notation: 'compact' })

/** @param {number} value */
export const count = (value) => compact.format(Math.round(value * 100) / 100)
/** @param {number} value */
export const perSecond = (value) => `${count(value)}/s`

/** @param {number} ms */
export function duration (ms) {
  if (ms >= 48 * 3_600_000) return `${Math.round(ms / 86_400_000)} d`
  if (ms >= 5_940_000) return `${(ms / 3_600_000).toFixed(1)} h`
  if (ms >= 59_950) return `${(ms / 60_000).toFixed(ms < 600_000 ? 1 : 0)} min`
  if (ms >= 999.5) return `${Number((ms / 1_000).toPrecision(3))} s`
  return `${ms >= 99.5 ? Math.round(ms) : Number(ms.toPrecision(2))} ms`
}

const clockTime = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' })
/** @param {number} at ms since 1970 */
export const timeOf = (at) => clockTime.format(at)
