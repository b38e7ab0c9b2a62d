// The page: listens to the stream of events, and shows what comes.
import { ask, showProcess } from './ask.js'
import { Chart } from './chart.js'
import { byId, make, setText, timeOf } from './dom.js'
import { charts as definitions } from './panels.js'
import { hasPool } from './reasons.js'
import { showOutage, showStatus, showWho } from './status.js'
import { showStored } from './stored/table.js'
import { tiles as tileDefinitions } from './tiles.js'
import { showIncidents, showJobs, showRoutes } from './lists.js'

/** @typedef {import('../sample.ts').Sample} Sample */

/** Samples over which tiles take the mean: as many as the first sentence does. */
const RECENT = 10
/** A process that is frozen keeps its connections open, and sends no sample, of which one comes each second. In ms. */
const SILENT = 3_000
/** After its last event, or an answer that refuses the page during a deploy, the page connects again after so many ms. */
const RECONNECT = 6_000
/** ms that a chart shows at least. */
const SHORTEST = 60_000
/** The samples that are kept, as in history.ts: of the last minutes, and of the last hour. */
const KEPT = 300
/** ms that a sample is of: one of the last minutes, and one of the last hour. */
const [MINUTES, HOUR] = [1_000, 12_000]

const charts = definitions.map((definition) => new Chart(definition))
byId('charts').append(...charts.map(({ element }) => element))

const tiles = tileDefinitions.map(({ title, isThere, show }) => {
  const value = make('p', { class: 'value', text: '–' })
  const note = make('p', { class: 'note' })
  const element = make('div', { class: 'tile' }, [make('h2', { text: title }), value, note])
  // Until the first sample says whether the application has what the tile is about.
  element.hidden = true
  byId('tiles').append(element)
  return { element, value, note, isThere, show }
})

/** @type {Sample[]} */
let samples = []
/** The samples of the last hour, if the charts show them. @type {Sample[] | undefined} */
let hour
/** What the connection is doing. @type {'connecting' | 'open' | 'paused' | 'lost' | 'refused' | 'ended'} */
let connection = 'connecting'
/** When the service said that it closes, until another one answers. @type {number | undefined} */
let endedAt
/** When the service was heard last: by `performance.now()`, and in ms since 1970. */
let heard = 0
let heardAt = Date.now()
/** @type {import('../status/watch.ts').Status | undefined} */
let status
/** @type {ReturnType<typeof setTimeout> | undefined} */
let reconnecting
/** @type {EventSource | undefined} */
let source

function showSamples () {
  const last = samples.at(-1)
  if (last === undefined) return
  for (const { element, value, note, isThere, show } of tiles) {
    element.hidden = !isThere(samples)
    if (element.hidden) continue
    const shown = show(last, samples.slice(-RECENT))
    value.replaceChildren(shown.value, ...(shown.unit === undefined ? [] : [make('small', { text: shown.unit })]))
    setText(note, shown.note)
    element.dataset['tone'] = shown.tone ?? ''
  }
  if (hour === undefined) showCharts(samples, MINUTES)
  setText(byId('clock'), timeOf(last.at))
}

/** @param {Sample[]} shown @param {number} each ms that a sample is of */
function showCharts (shown, each) {
  const [first, last] = [shown[0], shown.at(-1)]
  if (first === undefined || last === undefined) return
  // A service that has just started fills the charts too.
  const span = Math.min(KEPT * each, Math.max(SHORTEST, last.at - first.at)) / 1_000
  for (const chart of charts) chart.show(shown, span)
}

/** Has the charts show the last hour, or the last minutes. @param {boolean} isHour */
async function choose (isHour) {
  byId('span-minutes').setAttribute('aria-pressed', String(!isHour))
  byId('span-hour').setAttribute('aria-pressed', String(isHour))
  hour = isHour ? [] : undefined
  if (hour === undefined) return showCharts(samples, MINUTES)
  const asked = hour
  const { answer = { samples: [] } } = await ask('history')
  if (hour !== asked) return
  hour = answer.samples
  // A service that runs for less than a few of its samples has no more to show than the minutes.
  showCharts(answer.samples.length < 2 ? samples : answer.samples, HOUR)
}

/** For how many seconds an open connection has brought nothing, if that is too long. */
function silence () {
  const ms = performance.now() - heard
  return connection === 'open' && ms > SILENT ? Math.round(ms / 1_000) : 0
}

function hear () {
  heard = performance.now()
  heardAt = Date.now()
}

/** The first sentence while nothing is known of the service. */
function outage () {
  const silent = silence()
  if (silent > 0) return `No answer for ${silent} s: the process is frozen, or can't be reached. The page is of ${timeOf(heardAt)}.`
  if (endedAt !== undefined && connection !== 'open') return `It has shut down, at ${timeOf(endedAt)}.`
  return connection === 'lost' || connection === 'refused' ? `Nothing is known since ${timeOf(heardAt)}.` : undefined
}

function showState () {
  const pill = byId('phase')
  const silent = silence()
  const { state } = status ?? { state: 'serving' }
  const text = {
    connecting: 'connecting',
    open: silent > 0 ? `no answer for ${silent} s` : state,
    paused: 'paused',
    lost: 'connection lost',
    refused: 'not connected',
    ended: 'closed'
  }[connection]
  setText(pill, text)
  const isLost = silent > 0 || connection === 'refused'
  pill.dataset['state'] = isLost ? 'lost' : connection === 'open' ? state : connection
  document.body.dataset['live'] = String(connection === 'open' && silent === 0)
  const unknown = outage()
  if (unknown !== undefined) showOutage(unknown)
  else if (status !== undefined) showStatus(status)
  const banner = byId('banner')
  const said = bannerText()
  banner.hidden = said === undefined
  setText(/** @type {Node} */ (banner.querySelector('p')), said ?? '')
  const again = /** @type {HTMLElement} */ (banner.querySelector('button'))
  again.hidden = connection !== 'ended' && connection !== 'refused'
  const pause = byId('pause')
  pause.hidden = !again.hidden
  pause.setAttribute('aria-pressed', String(connection === 'paused'))
}

function bannerText () {
  if (endedAt !== undefined && connection !== 'open') return 'The service has shut down. The page looks for the next one …'
  if (connection === 'lost') return 'The connection is lost. Trying again …'
  if (connection === 'refused') return 'The service has refused the connection.'
  return undefined
}

function connect () {
  clearTimeout(reconnecting)
  connection = 'connecting'
  const opened = new EventSource('events')
  source = opened
  /** @param {string} name @param {(data: any) => void} listener */
  const on = (name, listener) => opened.addEventListener(name, (message) => listener(JSON.parse(message.data)))

  on('hello', (hello) => {
    connection = 'open'
    endedAt = undefined
    status = undefined
    hear()
    showProcess(hello.process)
    samples = hello.samples
    if (hour !== undefined) choose(true)
    showIncidents(hello.incidents, true)
    showJobs([])
    showSamples()
    showState()
  })
  on('sample', (sample) => {
    hear()
    samples.push(sample)
    samples.splice(0, samples.length - KEPT)
    byId('jobs').hidden = !hasPool(samples)
    showRoutes(sample.routes)
    showSamples()
  })
  on('coarse', (sample) => {
    if (hour === undefined) return
    hour.push(sample)
    hour.splice(0, hour.length - KEPT)
    showCharts(hour, HOUR)
  })
  on('jobs', showJobs)
  on('stored', showStored)
  on('incidents', (incidents) => showIncidents(incidents, false))
  on('who', showWho)
  on('status', (told) => {
    status = told
    showState()
  })
  on('goodbye', ({ at }) => {
    // Otherwise the browser would connect again at once, to a service that still closes.
    opened.close()
    connection = 'ended'
    endedAt = at
    showJobs([])
    showState()
    reconnectLater()
  })
  opened.addEventListener('error', () => {
    connection = opened.readyState === EventSource.CLOSED ? 'refused' : 'lost'
    showState()
    // A proxy refuses the page until the next process has started. Any other refusal is one for good: the user decides.
    if (connection === 'refused' && endedAt !== undefined) reconnectLater()
  })
  showState()
}

function reconnectLater () {
  reconnecting = setTimeout(connect, RECONNECT)
}

byId('banner').querySelector('button')?.addEventListener('click', connect)

byId('span-minutes').addEventListener('click', () => choose(false))
byId('span-hour').addEventListener('click', () => choose(true))

// A paused page isn't connected. Once it is again, its first event has what the page has missed.
byId('pause').addEventListener('click', () => {
  if (connection === 'paused') return connect()
  source?.close()
  connection = 'paused'
  showState()
})

setInterval(() => {
  if (silence() > 0) showState()
}, 1_000)

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  for (const chart of charts) chart.redraw()
})

connect()
