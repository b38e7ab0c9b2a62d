// Each code block of README.md and docs/ compiles.
import t from 'tap'
import { compilePages, readPages, writePage, type Page } from './pages.ts'

t.setTimeout(600_000)
// Below the root, so that the package finds itself by its own name.
const folder = t.testdir()
const pages = readPages().filter(({ files }) => files.size > 0)
for (const page of pages) writePage(folder, page)

/** Pages whose blocks declare types for the whole program, as `Register` of an application, would contradict each other in one program. */
const isAlone = ({ files }: Page): boolean => [...files.values()].some((code) => /^declare (module|global)/m.test(code))

// The compiler needs a second for the types of Fastify in each program.
for (const group of [pages.filter((page) => !isAlone(page)), ...pages.filter(isAlone).map((page) => [page])]) {
  t.test(`the code blocks compile: ${group.map(({ name }) => name).join(', ')}`, async (t) => {
    t.equal(compilePages(folder, group, ['fastify-concurrency-source']).join('\n'), '')
  })
}
