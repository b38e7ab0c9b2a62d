/** Gathers the pages of the site in site/pages: README.md, the docs, the simulation. The reference is there already. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const target = join(root, 'site', 'pages')
const repository = 'https://github.com/fastify-concurrency/fastify-concurrency/blob/main'

/** The pages of the reference, by the name that is imported. */
export function subpaths () {
  const folder = join(target, 'reference')
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((file) => file.replaceAll('\\', '/'))
    .filter((file) => file.endsWith('.md') && file !== 'index.md').sort()
    .map((file) => ({ file, name: file.replace(/(?:-1)?\.md$/, '') }))
}

/** Links go to the site's own pages, or to the repository if the file is no page. @param {string} text @param {string} source */
function relinked (text, source) {
  return text.replace(/\]\((?!https?:|#|mailto:)([^)\s#]+)(#[^)\s]*)?\)/g, (_, path, hash = '') => {
    const file = posix.join(posix.dirname(source), path)
    if (!file.startsWith('docs/') && file !== 'README.md') return `](${repository}/${file}${hash})`
    if (/\.(?:ya?ml|json)$|\/Dockerfile$/.test(file) || file.startsWith('docs/design/')) return `](${repository}/${file}${hash})`
    const page = pageOf(file)
    return `](${posix.relative(posix.dirname(pageOf(source)), page) || './'}${hash})`.replace('](', /^[.]/.test(page) ? '](' : '](./')
  }).replaceAll('](./../', '](../')
}

/** @param {string} file */
const pageOf = (file) => file === 'README.md' ? 'index.md' : file === 'docs/README.md' ? 'all.md' : file.replace(/^docs\//, '')

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const files = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' }).map((file) => `docs/${file.replaceAll('\\', '/')}`)
    .filter((file) => /\.(?:md|png|svg)$/.test(file) && !file.startsWith('docs/design/'))
  for (const file of ['README.md', ...files]) {
    const to = join(target, pageOf(file))
    mkdirSync(dirname(to), { recursive: true })
    if (!file.endsWith('.md')) cpSync(join(root, file), to)
    else writeFileSync(to, relinked(readFileSync(join(root, file), 'utf8'), file))
  }
  cpSync(join(root, 'site', 'simulation.md'), join(target, 'simulation.md'))
}
