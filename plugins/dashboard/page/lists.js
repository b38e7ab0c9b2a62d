// The lists: running jobs, stored tasks, and refusals and failures. An element is kept as long as its job runs, so that it keeps the keyboard's focus.
import { byId, count as compact, duration, make, setText, timeOf } from './dom.js'

/** @typedef {import('../running-jobs.ts').ShownJob} ShownJob */
/** @typedef {import('../incidents.ts').Incident} Incident */
/** @typedef {import('../../metrics/index.ts').QueueMetrics} QueueMetrics */

/** The most incidents that the list holds: as many as incidents.ts keeps. */
const KEPT = 100

class Row {
  #name = make('strong')
  #about = make('small')
  #progress = make('progress')
  #cancel = make('button')
  #job

  /** @param {ShownJob} job */
  constructor (job) {
    this.#job = job
    this.#name.textContent = job.name
    this.#name.title = job.name
    this.#progress.max = 1
    this.#progress.setAttribute('aria-label', `Progress of ${job.name} ${job.id}`)
    this.#cancel.type = 'button'
    this.#call('Cancel')
    // The keyboard's clicks have no detail, and follow the focus.
    this.#cancel.addEventListener('click', ({ detail }) => {
      if (detail === 0 || performance.now() - movedAt > SETTLING) return cancel(job, this.#cancel)
    })
    this.element = make('li', {}, [make('div', { class: 'what' }, [this.#name, this.#about]), this.#cancel, this.#progress])
    this.update(job)
  }

  /** @param {ShownJob} job */
  update ({ id, runMs, done, doing, aborted, requestId }) {
    const parts = [`for ${duration(runMs)}`, doing, done === undefined ? undefined : `${Math.round(done * 100)} %`, `job ${id}`, requestId]
    setText(this.#about, parts.filter((part) => part !== undefined).join(' · '))
    this.#progress.hidden = done === undefined
    this.#progress.value = done ?? 0
    if (!aborted) return
    this.#cancel.disabled = true
    this.#call('Stopping …')
  }

  /** Names the button for the eye, and with its job for a screen reader. @param {string} text */
  #call (text) {
    setText(this.#cancel, text)
    this.#cancel.setAttribute('aria-label', `${text} ${this.#job.name} ${this.#job.id}`)
  }
}

/** For this long, in ms, after rows have moved up, a click on a button may have been meant for the job that was there. */
const SETTLING = 700
let movedAt = -Infinity

/** @type {Map<string, Row>} */
const rows = new Map()

/** @param {ShownJob[]} jobs */
export function showJobs (jobs) {
  const list = byId('running')
  const keys = new Set(jobs.map(({ pool, id }) => `${pool} ${id}`))
  for (const [key, { element }] of rows) {
    if (keys.has(key)) continue
    if (element.nextElementSibling !== null) movedAt = performance.now()
    element.remove()
    rows.delete(key)
  }
  for (const job of jobs) {
    const key = `${job.pool} ${job.id}`
    const row = rows.get(key)
    if (row !== undefined) row.update(job)
    else {
      const added = new Row(job)
      rows.set(key, added)
      list.append(added.element)
    }
  }
  setText(byId('running-count'), jobs.length === 0 ? '' : String(jobs.length))
  byId('running-empty').hidden = jobs.length > 0
}

/** @param {QueueMetrics[]} queues none if tasks are in memory, or Redis doesn't answer */
export function showQueues (queues) {
  byId('stored').hidden = queues.length === 0
  byId('stored-rows').replaceChildren(...queues.map(({ name, waiting, delayed, running, failed, oldestMs }) => {
    const title = make('th', { text: name })
    title.scope = 'row'
    return make('tr', {}, [
      title,
      ...[waiting, delayed, running].map((value) => make('td', { text: compact(value) })),
      make('td', { text: compact(failed), ...(failed > 0 && { class: 'bad' }) }),
      make('td', { text: waiting === 0 ? '–' : duration(oldestMs) })
    ])
  }))
}

/** @param {ShownJob} job @param {HTMLButtonElement} button */
async function cancel ({ pool, id, name }, button) {
  button.disabled = true
  const said = byId('said')
  try {
    const response = await fetch(`cancel?${new URLSearchParams({ pool, id })}`, { method: 'POST' })
    if (response.ok) said.textContent = `${name} ${id} was cancelled.`
    else if (response.status === 404) said.textContent = `${name} ${id} had ended already.`
    else said.textContent = `${name} ${id} was not cancelled: ${(await response.json()).message}`
    if (!response.ok) button.disabled = false
  } catch {
    said.textContent = `${name} ${id} was not cancelled: the service doesn't answer.`
    button.disabled = false
  }
}

/** By the id of their incident. @type {Map<number, HTMLElement>} */
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
    const element = known ?? make('li', { 'data-kind': incident.kind, 'data-id': String(incident.id), ...(!afresh && { class: 'new' }) })
    element.replaceChildren(...contents(incident))
    if (known !== undefined) continue
    shown.set(incident.id, element)
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
function contents ({ since, at, kind, subject, route, reason, retryAfter, client, count }) {
  // The list is in the order of the beginnings, so each line shows its beginning.
  const [begun, latest] = [since, at].map((ms) => {
    const time = make('time', { text: timeOf(ms) })
    time.dateTime = new Date(ms).toISOString()
    return time
  })
  const when = make('small', { class: 'when' }, begun?.textContent === latest?.textContent ? [begun ?? ''] : [begun ?? '', '–', latest ?? ''])
  const head = make('p', { class: 'head' }, [make('strong', { text: subject }), make('span', { class: 'kind', text: kinds[kind] })])
  if (count > 1) head.append(make('span', { class: 'times', text: `×${count}` }))
  head.append(when)
  const sentence = `${reason.charAt(0).toUpperCase()}${reason.slice(1)}${/[.…!?]$/.test(reason) ? '' : '.'}`
  const details = [
    ...(route === undefined ? [] : [make('code', { text: route })]),
    ...(retryAfter === undefined ? [] : [`retry after ${retryAfter} s`]),
    ...(client === undefined ? [] : [`client ${client}`])
  ]
  const about = details.length === 0 ? [] : [make('small', {}, details.flatMap((detail, index) => index === 0 ? [detail] : [' · ', detail]))]
  return [head, make('p', { class: 'reason', text: sentence }), ...about]
}
