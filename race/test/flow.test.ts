// How a value flows within one function: whether it refuses, waits, is returned or leaves the function. /*r*/ stands before the read, /*w*/ before a write.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { writeAround } from '../src/source/dependence.ts'
import { Level } from '../src/source/definitions.ts'
import { Flow } from '../src/source/flow.ts'
import { functionsAround, nodeAt, sourceOf, type Source } from '../src/source/parse.ts'

const folder = t.testdir()
let files = 0

type Node = NonNullable<ReturnType<typeof nodeAt>>

/** Returns the flow of the value that is read at the mark, in the innermost function around it, and the write at the other mark. */
function flowIn (text: string): { flow: Flow, write: Node } {
  const file = join(folder, `${++files}.js`)
  writeFileSync(file, text)
  const source = sourceOf(file) as Source
  const nodeOf = (mark: string): Node => nodeAt(source, { file, line: 1, column: text.indexOf(mark) + mark.length + 1 }) as Node
  const read = nodeOf('/*r*/')
  const [scope] = functionsAround(source, read)
  const node = text.includes('/*w*/') ? nodeOf('/*w*/') : read
  return { flow: new Flow(source, scope as never, { read }), write: writeAround({ source, node, functions: [] }) }
}

/** The body of an async function around a read, and a write if there is one. */
const inBody = (body: string): ReturnType<typeof flowIn> => flowIn(`async function f (reply) { ${body} }`)

for (const [body, expected] of [
  ['if (a./*r*/b) throw new Error("no"); await turn(); a./*w*/c = 1', true],
  ['if (a./*r*/b) return reply.code(409).send(); await turn(); a./*w*/c = 1', true],
  ['if (a./*r*/b) return reply.status(400).send(); await turn(); a./*w*/c = 1', true],
  ['for (const each of a./*r*/b) { if (each) throw new Error("no") } await turn(); a./*w*/c = 1', true],
  ['if (a./*r*/b) throw new Error("no"); { await turn(); a./*w*/c = 1 }', true],
  ['if (a./*r*/b) return reply.code(399).send(); await turn(); a./*w*/c = 1', false],
  ['if (a./*r*/b) return reply.code().send(); await turn(); a./*w*/c = 1', false],
  ['if (a./*r*/b) return reply.header(409).send(); await turn(); a./*w*/c = 1', false],
  ['if (a./*r*/b) return "there"; await turn(); a./*w*/c = 1', false],
  ['if (a./*r*/b) { log() } else throw new Error("no"); await turn(); a./*w*/c = 1', false],
  ['const b = a./*r*/b; if (other) throw new Error("no"); await turn(); a./*w*/c = b', false],
  ['if (a./*r*/b) throw new Error("no"); await turn(); if (failed) { a./*w*/c = 1 }', false],
  ['if (a./*r*/b) throw new Error("no"); await turn(); failed ? a./*w*/c() : 0', false],
  ['if (a./*r*/b) throw new Error("no"); try { await turn() } catch { a./*w*/c = 1 }', false],
  ['if (a./*r*/b) throw new Error("no"); switch (x) { case 1: a./*w*/c = 1 }', false],
  ['a./*w*/c = 1; if (a./*r*/b) throw new Error("no")', false]
] as const) {
  t.test(`isRefusedBefore is ${expected}: ${body}`, async (t) => {
    const { flow, write } = inBody(body)
    t.equal(flow.isRefusedBefore(write), expected)
  })
}

for (const [body, expected] of [
  ['while (a./*r*/b) await turn(); a./*w*/b = true', true],
  ['do { await turn() } while (a./*r*/b); a./*w*/b = true', true],
  ['while (a./*r*/b) spin(); a./*w*/b = true', false],
  ['while (other) await turn(a./*r*/b); a./*w*/b = true', false],
  ['a./*w*/b = true; while (a./*r*/b) await turn()', false],
  ['if (a./*r*/b) await turn(); a./*w*/b = true', false]
] as const) {
  t.test(`waitsBefore is ${expected}: ${body}`, async (t) => {
    const { flow, write } = inBody(body)
    t.equal(flow.waitsBefore(write), expected)
  })
}

for (const [text, expected] of [
  ['() => a./*r*/b + 1', 'data'],
  ['() => 5 + (() => a./*r*/b).length', 'data'],
  ['() => { return a./*r*/b }', 'data'],
  ['() => { const b = a./*r*/b; return { b } }', 'data'],
  ['() => { const b = a./*r*/b; if (b) return; return "none" }', 'control'],
  ['() => { if (a./*r*/b) return true; return false }', 'control'],
  ['() => { if (a./*r*/b) return -1; return find() }', 'control'],
  ['() => { let why; if (a./*r*/b) why = "full"; return why }', 'control'],
  ['() => { if (a./*r*/b) return pop(); return open() }', 'none'],
  ['() => { log(a./*r*/b); return true }', 'none'],
  ['() => { const b = a./*r*/b }', 'none']
] as const) {
  t.test(`what is returned: ${text}`, async (t) => { t.equal(flowIn(`const f = ${text}`).flow.returned, Level[expected]) })
}

for (const [body, throws, refuses, escapes] of [
  ['if (a./*r*/b) throw new Error("no")', true, true, false],
  ['if (a./*r*/b) return reply.code(403).send()', false, true, false],
  ['try { use() } catch (error) { if (a./*r*/b) throw error }', false, false, false],
  ['const b = a./*r*/b; throw new Error("no"); b', false, false, false],
  ['const b = a./*r*/b; on(() => { if (b) throw new Error("no") })', false, false, true],
  ['send(a./*r*/b)', false, false, true],
  ['other.kept = a./*r*/b', false, false, true],
  ['const b = a./*r*/b; if (b) send(5)', false, false, false]
] as const) {
  t.test(`what a function does because of the value: ${body}`, async (t) => {
    const { flow } = inBody(body)
    t.strictSame({ throws: flow.throws, refuses: flow.refuses, escapes: flow.escapes }, { throws, refuses, escapes })
  })
}

t.test('names of the function', async (t) => {
  const { flow } = flowIn('function f (request, { user }) { const [first] = a./*r*/b; user.name = first; for (const each of all) use(each) }')
  t.strictSame(['request', 'user', 'first', 'each', 'a', 'all'].map((name) => flow.isLocal(name)), [true, true, true, true, false, false])
})
