// Each code block of README.md and docs/ compiles.
import t from 'tap'
import { compilePage, readPages, writePage } from './pages.ts'

// Each page takes the compiler about a second.
t.setTimeout(600_000)
// Below the root, so that the package finds itself by its own name.
const folder = t.testdir()

for (const page of readPages().filter(({ files }) => files.size > 0)) {
  t.test(`the code blocks of ${page.name} compile`, async (t) => {
    t.equal(compilePage(writePage(folder, page), page, ['fastify-concurrency-source']).join('\n'), '')
  })
}
