// A chart with a legend that shows the latest values, or those under the pointer.
import UPlot from './uplot.js'
import { make, setText, timeOf } from './dom.js'

/** @typedef {import('../sample.ts').Sample} Sample */

/**
 * @typedef {object} Curve
 * @property {string} label
 * @property {string} color the name of a colour of style.css
 * @property {(sample: Sample) => number | null | undefined} value
 * @property {(value: number) => string} [format] otherwise the chart's
 * @property {boolean} [dashed]
 * @property {boolean} [filled]
 * @property {boolean} [right] measured on the axis on the right
 */

/**
 * @typedef {object} Definition
 * @property {string} title
 * @property {(value: number) => string} format
 * @property {(samples: Sample[]) => boolean} isThere whether the service has what the chart is about
 * @property {(samples: Sample[]) => Curve[]} lines
 * @property {string} [nothing] what is said while there is no line
 * @property {boolean} [whole] the values are whole numbers, and so are those beside the axes
 */

/** The charts share the pointer. */
const sync = UPlot.sync('dashboard')

/**
 * The times beside the axis. One at the right edge would be cut off.
 *
 * @param {UPlot} uplot @param {number[]} at seconds since 1970
 */
function timesOf ({ scales }, at) {
  const { min = 0, max = 0 } = scales['x'] ?? {}
  return at.map((second) => second > max - (max - min) / 15 ? '' : timeOf(second * 1_000).slice(0, second % 60 === 0 ? 5 : 8))
}

const wholeSteps = [1, 10, 100, 1_000, 10_000].flatMap((decade) => [1, 2, 5].map((step) => step * decade))

/** A canvas knows no variables of CSS. This element, which shows nothing, has the colour that is asked for. */
const probe = make('span')
document.body.append(probe)

/** Returns a colour of style.css, in the theme of the moment. @param {string} name */
function colour (name) {
  probe.style.color = `var(--${name})`
  return getComputedStyle(probe).color
}

/** @param {string} name */
const faded = (name) => colour(name).replace(')', ', 0.13)')

export class Chart {
  #plot = make('div', { class: 'plot', 'aria-hidden': 'true' })
  #nothing = make('p', { class: 'nothing' })
  #legend = make('ul', { class: 'legend' })
  #when = make('span')
  /** @type {UPlot | undefined} */
  #uplot
  /** @type {Curve[]} */
  #lines = []
  /** @type {Sample[]} */
  #samples = []
  #definition

  /** @param {Definition} definition */
  constructor (definition) {
    this.#definition = definition
    this.#legend.setAttribute('aria-label', `${definition.title}, now`)
    this.#nothing.textContent = definition.nothing ?? ''
    this.#plot.append(this.#nothing)
    this.element = make('section', { class: 'panel' }, [make('h2', {}, [definition.title, this.#when]), this.#plot, this.#legend])
    this.element.hidden = true
    new ResizeObserver(() => this.#uplot?.setSize(this.#size)).observe(this.#plot)
  }

  get #size () {
    return { width: this.#plot.clientWidth, height: this.#plot.clientHeight }
  }

  /**
   * @param {Sample[]} samples the oldest first
   * @param {number} span seconds that the chart shows
   */
  show (samples, span) {
    const last = samples.at(-1)
    if (last === undefined) return
    this.element.hidden = !this.#definition.isThere(samples)
    if (this.element.hidden) return
    const lines = this.#definition.lines(samples)
    const isSame = lines.length === this.#lines.length && lines.every(({ label, color }, index) => this.#lines[index]?.label === label && this.#lines[index]?.color === color)
    this.#lines = lines
    this.#samples = samples
    this.#nothing.hidden = lines.length > 0
    const uplot = isSame && this.#uplot !== undefined ? this.#uplot : this.#create()
    uplot.setData([samples.map(({ at }) => at / 1_000), ...lines.map(({ value }) => samples.map((sample) => value(sample) ?? null))], false)
    uplot.setScale('x', { min: last.at / 1_000 - span, max: last.at / 1_000 })
    this.#describe(uplot.cursor.idx)
  }

  /** The colours have changed with the theme. */
  redraw () {
    this.#uplot?.redraw(false)
    this.#fillLegend()
  }

  #create () {
    this.#uplot?.destroy()
    const { format, whole } = this.#definition
    const right = this.#lines.find((line) => line.right === true)
    const axis = { stroke: () => colour('faint'), font: '11px system-ui, sans-serif', ticks: { show: false } }
    const values = { ...axis, gap: 4, space: 32, ...(whole === true && { incrs: wholeSteps }) }
    const grid = { stroke: () => colour('grid'), width: 1 }
    /** @returns {[number, number]} */
    const range = (/** @type {unknown} */ _, /** @type {number} */ __, /** @type {number | null} */ max) => [0, max === null || max <= 0 ? 1 : max * 1.08]
    const uplot = new UPlot({
      ...this.#size,
      pxAlign: 0,
      padding: [6, right === undefined ? 8 : 0, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: sync.key }, drag: { x: false, y: false }, points: { size: 6 } },
      scales: { x: { time: true }, y: { range }, right: { range } },
      axes: [
        { ...axis, grid: { show: false }, space: 70, size: 22, values: timesOf },
        { ...values, grid, size: 52, values: (/** @type {unknown} */ _, /** @type {number[]} */ values) => values.map(format) },
        ...(right === undefined ? [] : [{ ...values, grid: { show: false }, scale: 'right', side: 1, size: 44, values: (/** @type {unknown} */ _, /** @type {number[]} */ values) => values.map(right.format ?? format) }])
      ],
      series: [{}, ...this.#lines.map(({ label, color, dashed, filled, right }) => ({
        label,
        scale: right === true ? 'right' : 'y',
        stroke: () => colour(color),
        width: dashed === true ? 1.25 : 1.75,
        ...(dashed === true && { dash: [4, 3] }),
        ...(filled === true && { fill: () => faded(color) }),
        points: { show: false }
      }))],
      hooks: { setCursor: [({ cursor }) => this.#describe(cursor.idx)] }
    }, [[], ...this.#lines.map(() => [])], this.#plot)
    this.#uplot = uplot
    this.#fillLegend()
    return uplot
  }

  #fillLegend () {
    this.#legend.replaceChildren(...this.#lines.map(({ label, color, dashed }) => {
      const swatch = make('i', dashed === true ? { class: 'dashed' } : {})
      swatch.style.color = `var(--${color})`
      return make('li', {}, [swatch, label, make('b')])
    }))
    this.#describe(this.#uplot?.cursor.idx)
  }

  /** Shows the values of an instant in the legend. @param {number | null | undefined} index of a sample; otherwise the latest */
  #describe (index) {
    const sample = this.#samples[index ?? this.#samples.length - 1]
    if (sample === undefined) return
    setText(this.#when, index === null || index === undefined ? '' : timeOf(sample.at))
    for (const [at, { value, format = this.#definition.format }] of this.#lines.entries()) {
      const shown = value(sample)
      const item = this.#legend.children[at]?.lastChild
      if (item) setText(item, shown === null || shown === undefined ? '–' : format(shown))
    }
  }
}
