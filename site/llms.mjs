/** Writes llms.txt, an index of the docs for language models: the title and the first sentence of each page. `npm run build` runs it. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

/** @param {string} markdown */
function plain (markdown) {
  return markdown.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').replace(/\s+/g, ' ').trim()
}

/**
 * @param {string} text a page of the docs
 * @returns {{ title: string, sentence: string }}
 */
export function summaryOf (text) {
  const body = text.replace(/^(`{3,})[^]*?^\1$/gm, '')
  const title = /^# (.+)$/m.exec(body)?.[1] ?? ''
  const paragraph = body.split(/\n\s*\n/).map((part) => part.trim()).find((part) => part !== '' && !/^[#|![<>-]/.test(part)) ?? ''
  const sentence = /^.*?[.!?:](?= |$)/.exec(plain(paragraph))?.[0] ?? plain(paragraph)
  return { title: plain(title), sentence: sentence.replace(/:$/, '.') }
}

export function pages () {
  return readdirSync(`${root}docs`, { recursive: true, encoding: 'utf8' })
    .map((file) => file.replaceAll('\\', '/'))
    .filter((file) => file.endsWith('.md') && !file.startsWith('design/') && file !== 'README.md').sort()
    .map((file) => ({ file: `docs/${file}`, ...summaryOf(readFileSync(`${root}docs/${file}`, 'utf8')) }))
}

export function llms () {
  const { name, description } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'))
  const line = (/** @type {ReturnType<typeof pages>[number]} */ { file, title, sentence }) => `- [${title}](${file}): ${sentence}`
  const isOptional = (/** @type {{ file: string }} */ { file }) => /^docs\/(?:recipes|migrate)\//.test(file)
  const all = pages()
  return [
    `# ${name}`, `> ${description}.`,
    'Types and doc comments of the whole API are in `dist/**/*.d.ts`. Begin with README.md.',
    `## Docs\n\n${all.filter((page) => !isOptional(page)).map(line).join('\n')}`,
    `## Optional\n\n${all.filter(isOptional).map(line).join('\n')}`
  ].join('\n\n') + '\n'
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(`${root}llms.txt`, llms())
