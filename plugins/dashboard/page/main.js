// The page: listens to the stream of events, and shows what comes.
import { Chart } from './chart.js'
import { byId, make, setText, timeOf } from './dom.js'
import { charts as definitions, tiles as tileDefinitions } from './panels.js'
import { showIncidents, showJobs } from './lists.js'

/** @typedef {import('../sample.ts').Sample} Sample */

/** Samples over which tiles take the mean. */
const RECENT = 5
/** ms that a chart shows at least. */
const SHORTEST = 60_000

const charts = definitions.map((definition) => new Chart(definition))
byId('charts').append(...charts.map(({ element }) => element))

const tiles = tileDefinitions.map(({ title, show }) => {
  const value = make('p', { class: 'value', text: '–' })
  const note = make('p', { class: 'note' })
  const element = make('div', { class: 'tile' }, [make('h2', { text: title }), value, note])
  byId('tiles').append(element)
  return { element, value, note, show }
})

/** @type {Sample[]} */
let samples = []
let kept = 300
let interval = 1_000
let phase = 'serving'
/** What the connection is doing. @type {'connecting' | 'open' | 'lost' | 'refused' | 'ended'} */
let connection = 'connecting'
let endedAt = 0
let isPaused = false

function showSamples () {
  const last = samples.at(-1)
  if (last === undefined || isPaused) return
  for (const { element, value, note, show } of tiles) {
    const shown = show(last, samples.slice(-RECENT))
    value.replaceChildren(shown.value, ...(shown.unit === undefined ? [] : [make('small', { text: shown.unit })]))
    setText(note, shown.note)
    element.dataset['tone'] = shown.tone ?? ''
  }
  // A service that has just started fills the charts too.
  const span = Math.min(kept * interval, Math.max(SHORTEST, last.at - (samples[0]?.at ?? last.at))) / 1_000
  for (const chart of charts) chart.show(samples, span)
  setText(byId('clock'), timeOf(last.at))
}

function showState () {
  const pill = byId('phase')
  const text = { connecting: 'connecting', open: phase, lost: 'connection lost', refused: 'not connected', ended: 'closed' }[connection]
  setText(pill, text)
  pill.dataset['state'] = connection === 'open' ? phase : connection === 'refused' ? 'lost' : connection
  const banner = byId('banner')
  const said = bannerText()
  banner.hidden = said === undefined
  setText(/** @type {Node} */ (banner.querySelector('p')), said ?? '')
  const again = /** @type {HTMLElement} */ (banner.querySelector('button'))
  again.hidden = connection !== 'ended' && connection !== 'refused'
}

function bannerText () {
  if (connection === 'ended') return `The service has shut down, at ${timeOf(endedAt)}.`
  if (connection === 'lost') return 'The connection is lost. Trying again …'
  if (connection === 'refused') return 'The service has refused the connection.'
  if (phase === 'serving') return undefined
  return `The service is shutting down: ${{
    leaving: 'it is not ready any more, so that load balancers look away, and still serves.',
    requests: 'new requests are refused, and those in flight are finished.',
    tasks: 'background tasks are finished.',
    workers: 'jobs are finished.'
  }[phase] ?? phase}`
}

function connect () {
  connection = 'connecting'
  const source = new EventSource('events')
  /** @param {string} name @param {(data: any) => void} listener */
  const on = (name, listener) => source.addEventListener(name, (message) => listener(JSON.parse(message.data)))

  on('hello', (hello) => {
    connection = 'open'
    kept = hello.kept
    interval = hello.interval
    samples = hello.samples
    phase = samples.at(-1)?.phase ?? 'serving'
    showIncidents(hello.incidents, true)
    showJobs([])
    showSamples()
    showState()
  })
  on('sample', (sample) => {
    samples.push(sample)
    samples.splice(0, samples.length - kept)
    phase = sample.phase
    showSamples()
    showState()
  })
  on('jobs', (jobs) => { if (!isPaused) showJobs(jobs) })
  on('incidents', (incidents) => { if (incidents.length > 0) showIncidents(incidents, false) })
  on('phase', (entered) => {
    phase = entered.phase
    showState()
  })
  on('goodbye', ({ at }) => {
    // Otherwise the browser would connect again, every two seconds, to a service that is gone.
    source.close()
    connection = 'ended'
    endedAt = at
    showJobs([])
    showState()
  })
  source.addEventListener('error', () => {
    connection = source.readyState === EventSource.CLOSED ? 'refused' : 'lost'
    showState()
  })
}

byId('banner').querySelector('button')?.addEventListener('click', () => {
  connect()
  showState()
})

byId('pause').addEventListener('click', () => {
  isPaused = !isPaused
  byId('pause').setAttribute('aria-pressed', String(isPaused))
  showSamples()
})

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { for (const chart of charts) chart.redraw() })

connect()
