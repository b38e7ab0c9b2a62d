// A link of README.md or docs/ to a file of the repository, or to a heading, leads there. The README can be read in a few minutes.
import { existsSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import t from 'tap'
import { root } from '../compiler.ts'
import { readPages, type Page } from './pages.ts'

const pages = readPages()
const byPath = new Map(pages.map((page) => [`${page.name}.md`, page]))

/** The anchors of the headings, as GitHub makes them. */
function anchors ({ text }: Page): string[] {
  return [...withoutCode(text).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-'))
}

const withoutCode = (text: string): string => text.replace(/^ *```[^]*?^ *```$/gm, '')

for (const page of pages) {
  t.test(`the links of ${page.name}`, async (t) => {
    for (const [, target = ''] of withoutCode(page.text).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      const [path = '', anchor] = target.split('#')
      const file = path === '' ? `${page.name}.md` : normalize(join(dirname(page.name), path))
      t.ok(existsSync(join(root, file)), target)
      if (anchor !== undefined) t.ok(anchors(byPath.get(file)!).includes(anchor), target)
    }
  })
}

t.test('the README leads to each page', async (t) => {
  const readme = byPath.get('README.md')!
  for (const { name } of pages.slice(1)) {
    t.ok(readme.text.includes(`(${name}.md`) || byPath.get('docs/README.md')?.text.includes(`(${name.slice('docs/'.length)}.md`), name)
  }
})

t.test('the README is short', async (t) => {
  const { text } = byPath.get('README.md')!
  t.ok(text.split('\n').length <= 201, 'at most 200 lines')
  t.ok(Buffer.byteLength(text) <= 12_288, 'at most 12 KB')
})
