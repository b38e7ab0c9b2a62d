import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'
import { Table } from '../table.ts'

export const description = 'Each document has a mutex of its own. Two documents are changed at the same time, one document never.'

interface Doc { text: string, revision: number }

function build ({ shared, locks }: Tools): FastifyInstance {
  const app = Fastify()
  const spelling = new Table({ teh: 'the', adn: 'and' })
  const docs: Record<string, Doc> = shared({ a: { text: '', revision: 0 }, b: { text: '', revision: 0 } }, 'docs')

  async function append (doc: Doc, word: string): Promise<Doc> {
    const { text, revision } = doc
    const corrected = await spelling.find(word) ?? word
    doc.text = `${text} ${corrected}`.trim()
    doc.revision = revision + 1
    return doc
  }

  app.patch<{ Params: { id: string }, Body: { word: string } }>('/docs/:id', async ({ params: { id }, body: { word } }) =>
    locks.mutex(`doc:${id}`, () => append(docs[id]!, word)))
  app.get('/docs', async () => docs)
  return app
}

export const program: Program = {
  name: 'clean/mutex-per-key',
  source: 'race.md: a mutex-held section',
  build,
  requests: [['a', 'teh'], ['b', 'adn'], ['a', 'end']].map(([id, word]) => ({ method: 'PATCH', url: `/docs/${id}`, payload: { word } })),
  async invariant (app) {
    const { a, b } = (await app.inject('/docs')).json<Record<string, Doc>>()
    assert.deepEqual(a!.text.split(' ').sort(), ['end', 'the'])
    assert.deepEqual([a!.revision, b], [2, { text: 'and', revision: 1 }])
  }
}
