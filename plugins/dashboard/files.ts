/** The files of the page, read once at boot: no name of a file ever comes from a request. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

export interface PageFile {
  /** Relative to the page. */
  url: string
  type: string
  content: Buffer
}

const types = { html: 'text/html; charset=utf-8', css: 'text/css; charset=utf-8', js: 'text/javascript; charset=utf-8' }
const names = ['index.html', 'style.css', 'main.js', 'status.js', 'tiles.js', 'panels.js', 'reasons.js', 'chart.js',
  'lists.js', 'ask.js', 'confirm.js', 'dom.js', 'stored/table.js', 'stored/look.js', 'stored/failed.js'] as const

export function pageFiles (): PageFile[] {
  const own = names.map((name): PageFile => {
    const type = types[name.slice(name.lastIndexOf('.') + 1) as keyof typeof types]
    return { url: name === 'index.html' ? '' : name, type, content: readFileSync(new URL(`page/${name}`, import.meta.url)) }
  })
  const require = createRequire(import.meta.url)
  const uplot = (file: string): Buffer => readFileSync(require.resolve(`uplot/dist/${file}`))
  return [
    ...own,
    { url: 'uplot.js', type: types.js, content: uplot('uPlot.esm.js') },
    { url: 'uplot.css', type: types.css, content: uplot('uPlot.min.css') }
  ]
}
