// llms.txt, which the build writes: each page of the docs that is packed has a line, with its title and what it is for.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { root } from '../compiler.ts'
import { readPages } from './pages.ts'

const { llms, pages, summaryOf } = await import(new URL('../../site/llms.mjs', import.meta.url).href) as {
  llms: () => string
  pages: () => Array<{ file: string, title: string, sentence: string }>
  summaryOf: (text: string) => { title: string, sentence: string }
}

t.test('the title and the first sentence of a page, past code and tables', async (t) => {
  t.strictSame(summaryOf('# A page\n\n| a |\n|---|\n\n```ts\nThis is code.\n```\n\nIt is [for](x.md) you. Or not.\n'), { title: 'A page', sentence: 'It is for you.' })
})

t.test('llms.txt has a line for each page that is packed', async (t) => {
  const text = llms()
  const packed = readPages().map(({ name }) => `${name}.md`).filter((file) => /^docs\/(?!design\/|README)/.test(file))
  t.strictSame(pages().map(({ file }) => file).sort(), packed.sort())
  for (const { file, title, sentence } of pages()) {
    t.ok(title.length > 2 && sentence.length > 20, `${file}: ${title}: ${sentence}`)
    t.ok(text.includes(`](${file})`), file)
  }
  const { files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { files: string[] }
  t.ok(files.includes('llms.txt'))
})
