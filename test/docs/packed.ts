/**
 * Compiles the code blocks of README.md and docs/ against an installed package: `node --import ./loader/typescript.js test/docs/packed.ts <folder>`, where
 * `<folder>` is that of an application which has the package and what the docs use beside it.
 */
import { join, resolve } from 'node:path'
import { compilePages, readPages, writePage } from './pages.ts'

const folder = join(resolve(process.argv[2] ?? '.'), 'docs-blocks')
const mistakes = readPages().filter(({ files }) => files.size > 0).flatMap((page) => {
  writePage(folder, page)
  return compilePages(folder, [page], process.argv.slice(3))
})
for (const mistake of mistakes) console.error(mistake)
process.exitCode = mistakes.length === 0 ? 0 : 1
