// A link to a file of the repository, or to a heading, leads there. The README can be read in a few minutes, the docs in two hours.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import t from 'tap'
import { root } from '../compiler.ts'
import { readPages } from './pages.ts'

const pages = readPages()
const papers = ['SECURITY', 'CONTRIBUTING', 'CHANGELOG'].map((name) => ({ name, text: readFileSync(join(root, `${name}.md`), 'utf8') }))
const byPath = new Map([...pages, ...papers].map((page) => [`${page.name}.md`, page]))

/** The anchors of the headings, as GitHub makes them. */
function anchors ({ text }: { text: string }): string[] {
  return [...withoutCode(text).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-'))
}

/** docs/design/ holds reasons and figures, for readers of the repository. */
const isDesign = ({ name }: { name: string }): boolean => name.startsWith('docs/design/')

const withoutCode = (text: string): string => text.replace(/^ *```[^]*?^ *```$/gm, '')

for (const page of byPath.values()) {
  t.test(`the links of ${page.name}`, async (t) => {
    for (const [, target = ''] of withoutCode(page.text).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      const [path = '', anchor] = target.split('#')
      const file = path === '' ? `${page.name}.md` : normalize(join(dirname(page.name), path))
      // The package holds the README, CHANGELOG.md and docs/ without docs/design/: a relative link from there to another file would be dead in node_modules.
      if (!['SECURITY', 'CONTRIBUTING'].includes(page.name) && !isDesign(page)) t.match(file, page.name === 'race/README' ? /^race\/README\.md$/ : /^(docs\/(?!design\/)|README\.md$|CHANGELOG\.md$)/, `${target} is packed`)
      t.ok(existsSync(join(root, file)), target)
      if (anchor !== undefined) t.ok(anchors(byPath.get(file)!).includes(anchor), target)
    }
  })
}

t.test('links to the repository itself, which package.json names, lead to files', async (t) => {
  const { homepage, bugs, repository } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { homepage: string, bugs: string, repository: { url: string } }
  const home = homepage.replace(/#readme$/, '')
  t.equal(repository.url, `git+${home}.git`)
  t.equal(bugs, `${home}/issues`)
  const github = readdirSync(join(root, '.github'), { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.yml'))
  const texts = [...[...byPath.values()].map(({ text }) => text), ...github.map((file) => readFileSync(join(root, '.github', file), 'utf8'))]
  const targets = texts.flatMap((text) => [...text.matchAll(/https:\/\/[^/\s]+\/fastify-concurrency\/[^)\s]*/g)].map(([target]) => target))
  t.ok(targets.length > 0)
  for (const target of targets) {
    const [, file] = /^\/(?:blob|raw|tree)\/main\/([^#]+)/.exec(target.slice(home.length)) ?? []
    t.ok(target.startsWith(home) && (file === undefined || existsSync(join(root, file))), target)
  }
})

t.test('docs/design/benchmarks.md names each file of bench/results/', async (t) => {
  const { text } = byPath.get('docs/design/benchmarks.md')!
  for (const file of readdirSync(join(root, 'bench/results'))) t.ok(text.includes(`\`${file}\``) || text.includes(`/${file})`), file)
})

t.test('the README leads to each page', async (t) => {
  const readme = byPath.get('README.md')!
  for (const { name } of pages.filter((page) => page.name.startsWith('docs/') && !isDesign(page))) {
    t.ok(readme.text.includes(`(${name}.md`) || byPath.get('docs/README.md')?.text.includes(`(${name.slice('docs/'.length)}.md`), name)
  }
})

t.test('the docs are short', async (t) => {
  const words = pages.filter((page) => /^(?:README|docs\/)/.test(page.name) && !isDesign(page)).map(({ text }) => text.split(/\s+/).filter(Boolean).length)
  t.ok(words.reduce((sum, count) => sum + count, 0) <= 20_000, 'at most 20,000 words')
})

t.test('the README is short', async (t) => {
  const { text } = byPath.get('README.md')!
  t.ok(text.split('\n').length <= 151, 'at most 150 lines')
  t.ok(Buffer.byteLength(text) <= 12_288, 'at most 12 KB')
})
