// The lists: running jobs, the costs of routes, and refusals and failures. An element is kept as long as its job runs, so that it keeps the keyboard's focus.
import { ask, button, label } from './ask.js'
import { confirmed } from './confirm.js'
import { byId, count as compact, duration, make, row, sentence, setText, tableOf, timeOf } from './dom.js'

/** @typedef {import('../running-jobs.ts').ShownJob} ShownJob */
/** @typedef {import('../incidents.ts').Incident} Incident */
/** @typedef {import('../sample.ts').RouteSample} RouteSample */

/** The most incidents that the list holds: as many as incidents.ts keeps. */
const KEPT = 100

class Row {
  #name = make('strong')
  #about = make('small')
  #progress = make('progress')
  #cancel

  /** @param {ShownJob} job */
  constructor (job) {
    this.#name.textContent = job.name
    this.#name.title = job.name
    this.#progress.max = 1
    this.#progress.setAttribute('aria-label', `Progress of ${job.name} ${job.id}`)
    this.#cancel = button('Cancel', `${job.name} ${job.id}`, () => cancel(job, this.#cancel))
    this.element = make('li', {}, [make('div', { class: 'what' }, [this.#name, this.#about]), this.#cancel, this.#progress])
    this.update(job)
  }

  /** @param {ShownJob} job */
  update ({ id, name, runMs, done, doing, aborted, requestId, client }) {
    const percent = done === undefined ? undefined : `${Math.round(done * 100)} %`
    const whose = client === '' ? undefined : `client ${client}`
    const parts = [`for ${duration(runMs)}`, doing, percent, `job ${id}`, requestId, whose]
    setText(this.#about, parts.filter((part) => part !== undefined).join(' · '))
    this.#progress.hidden = done === undefined
    this.#progress.value = done ?? 0
    if (!aborted) return
    this.#cancel.disabled = true
    label(this.#cancel, 'Stopping …', `${name} ${id}`)
  }
}

/** @type {Map<string, Row>} */
const rows = new Map()

/** @param {ShownJob[]} jobs */
export function showJobs (jobs) {
  const list = byId('running')
  const keys = new Set(jobs.map(({ pool, id }) => `${pool} ${id}`))
  for (const [key, { element }] of rows) {
    if (keys.has(key)) continue
    element.remove()
    rows.delete(key)
  }
  for (const job of jobs) {
    const key = `${job.pool} ${job.id}`
    const known = rows.get(key)
    if (known !== undefined) known.update(job)
    else {
      const added = new Row(job)
      rows.set(key, added)
      list.append(added.element)
    }
  }
  setText(byId('running-count'), jobs.length === 0 ? '' : String(jobs.length))
  byId('running-empty').hidden = jobs.length > 0
}

const fillRoutes = tableOf('routes', 'Routes', 'on the event loop, in the last 10 s',
  ['Route', 'Share of time', 'Requests/s', 'Longest slice'])

/** @param {RouteSample[]} routes none if nothing was asked for lately, or the application has no admission of the event loop */
export function showRoutes (routes) {
  fillRoutes(routes.map(({ route, share, count, longestMs }) =>
    row(route, [`${(100 * share).toFixed(1)} %`, compact(count), duration(longestMs)])))
}

/** @param {ShownJob} job @param {HTMLButtonElement} button */
async function cancel ({ pool, id, name }, button) {
  if (!await confirmed(`Cancel the job ${name} ${id}? Its caller gets an error.`, `Cancel ${name} ${id}`)) return
  button.disabled = true
  const { problem } = await ask('cancel', { pool, id }, { method: 'POST' })
  button.disabled = problem === undefined
  const why = problem === undefined ? 'was cancelled.' : `was not cancelled: ${problem}`
  byId('said').textContent = `${name} ${id} ${why}`
}

/** By the id of their incident. @type {Map<number, { element: HTMLElement, since: number }>} */
const shown = new Map()

/** @param {Incident[]} incidents the oldest first @param {boolean} afresh whether they replace those that are shown */
export function showIncidents (incidents, afresh) {
  const list = byId('incidents')
  if (afresh) {
    list.replaceChildren()
    shown.clear()
  }
  for (const incident of incidents) {
    const known = shown.get(incident.id)
    const element = known?.element ?? make('li', { 'data-kind': incident.kind, 'data-id': String(incident.id) })
    element.classList.toggle('new', !afresh && known?.since !== incident.since)
    element.replaceChildren(...contents(incident))
    // A card that counts on stays where it is; one that begins anew comes first.
    if (known?.since === incident.since) continue
    shown.set(incident.id, { element, since: incident.since })
    list.prepend(element)
  }
  while (list.children.length > KEPT) {
    const last = /** @type {HTMLElement} */ (list.lastElementChild)
    shown.delete(Number(last.dataset['id']))
    last.remove()
  }
  list.hidden = list.children.length === 0
  byId('incidents-empty').hidden = !list.hidden
}

const kinds = { refused: 'refused', failed: 'failed', noted: '' }

/** @param {Incident} incident */
function contents ({ first, since, at, kind, subject, routes, reason, retryAfter, client, count }) {
  const [begun, latest] = [since, at].map((ms) => {
    const time = make('time', { text: timeOf(ms) })
    time.dateTime = new Date(ms).toISOString()
    return time
  })
  const when = make('small', { class: 'when' }, begun?.textContent === latest?.textContent ? [begun ?? ''] : [begun ?? '', '–', latest ?? ''])
  const head = make('p', { class: 'head' }, [make('strong', { text: subject }), make('span', { class: 'kind', text: kinds[kind] })])
  if (count > 1) head.append(make('span', { class: 'times', text: `×${count}` }))
  head.append(when)
  const text = `${reason.charAt(0).toUpperCase()}${reason.slice(1)}${/[.…!?]$/.test(reason) ? '' : '.'}`
  const details = [
    ...routes.map(({ route, count: times }) => make('span', {}, [make('code', { text: route }), times > 1 ? ` ×${compact(times)}` : ''])),
    ...(retryAfter === undefined ? [] : [`retry after ${retryAfter} s`]),
    ...(client === undefined ? [] : [`${client.share > 0.995 ? '' : `${Math.round(client.share * 100)} % of `}client ${client.client}`]),
    ...(first === since ? [] : [`first at ${timeOf(first)}`])
  ]
  const about = details.length === 0 ? [] : [make('small', {}, details.flatMap((detail, index) => index === 0 ? [detail] : [' · ', detail]))]
  return [head, make('p', { class: 'reason' }, sentence(text)), ...about]
}
