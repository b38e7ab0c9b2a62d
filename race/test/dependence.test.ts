// How a write depends on an earlier read, decided on sources. /*r*/ and /*w*/ stand before the read and the write; /*r2*/ and /*w2*/ before the calls
// that lead to them, as in a stack.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Frame } from '../src/sites.ts'
import { dependenceOf, isSameStatement, writesText } from '../src/source/dependence.ts'

const folder = t.testdir()
let files = 0

/** Writes the source into a file, and returns the frames of its marks, from the inside out. */
function framesIn (source: string): (mark: 'r' | 'w') => Frame[] {
  const file = join(folder, `${++files}.js`)
  writeFileSync(file, source)
  return (mark) => ['', '2', '3'].flatMap((depth) => {
    const text = `/*${mark}${depth}*/`
    const at = source.indexOf(text)
    if (at === -1) return []
    const before = source.slice(0, at + text.length).split('\n')
    return [{ file, line: before.length, column: (before.at(-1) as string).length + 1 }]
  })
}

function dependenceIn (source: string, isLater = true): string {
  const frames = framesIn(source)
  return dependenceOf(frames('r'), frames('w'), isLater)
}

/** The body of a handler, by what its write depends on. */
const bodies: Record<string, Record<string, string>> = {
  data: {
    'the value is written': 'const { /*r*/hits } = stats; await turn(); stats./*w*/hits = hits + 1',
    'the value goes through variables': 'const was = stats./*r*/hits; await turn(); const next = was + 1; stats./*w*/hits = next',
    'the value goes through a variable that is set later': 'let was = 0; was = stats./*r*/hits; await turn(); stats./*w*/hits = was',
    'a field of an object that was read': 'const order = orders./*r*/get(id); await turn(); orders./*w*/set(id, { ...order, paid: true })',
    'a list that the value was added to': 'const all = []; all.push(stats./*r*/hits); await turn(); stats./*w*/list = all',
    'elements of a loop over the value': 'let sum = 0; for (const row of table./*r*/rows) sum += row.price; await turn(); table./*w*/sum = sum',
    'parameters of a callback over the value': 'const list = []; table./*r*/rows.forEach((row) => { list.push(row) }); await turn(); table./*w*/rows = list',

    'a conditional expression between values': 'const was = stats./*r*/hits; await turn(); stats./*w*/hits = flag ? was : 0',
    'a pattern with a default': 'const { /*r*/hits = 0 } = stats; await turn(); stats./*w*/hits = hits + 1',
    'a list pattern': 'const [first] = queue./*r*/list; await turn(); queue./*w*/list = [first]',
    'an assignment pattern': 'let hits; ({ hits } = store./*r*/stats); await turn(); store./*w*/stats = { hits }',
    'a call with the value as an argument': 'const was = map./*r*/get(key); await turn(); map./*w*/set(key, Math.max(was, 1))',
    'a field of the variable that holds the value': 'const box = {}; box.was = stats./*r*/hits; await turn(); stats./*w*/hits = box.was',
    'the whole of an object of which a field holds the value': 'const box = {}; box.was = stats./*r*/hits; await turn(); stats./*w*/box = box',
    'an operator with the value': 'const was = stats./*r*/hits; await turn(); stats./*w*/hits += was',
    'a pattern that assigns to a field': 'const was = stats./*r*/hits; await turn(); ({ hits: stats./*w*/hits } = { hits: was })',
    'an awaited read': 'const was = await store./*r*/get(key); await turn(); await store./*w*/set(key, was + 1)',
    'a function within that returns the value': 'const now = () => stats./*r*/hits; const was = now(); await turn(); stats./*w*/hits = was'
  },
  control: {
    'a test around the write': 'if (stats./*r*/left > 0) { await turn(); stats./*w*/left = 7 }',
    'the other branch of a test': 'if (stats./*r*/full) return; else { await turn(); stats./*w*/used = 7 }',
    'a guard that returns': 'const user = users./*r*/get(id); if (user) return; await turn(); users./*w*/set(id, { name })',
    'a guard that throws': 'if (users./*r*/has(id)) throw new Error("taken"); await turn(); users./*w*/set(id, {})',
    'a guard that breaks a loop': 'for (;;) { if (stats./*r*/full) break; await turn(); stats./*w*/used = 7 }',
    'a guard that goes on with a loop': 'for (const x of xs) { if (stats./*r*/full) continue; await turn(); stats./*w*/used = x }',
    'a guard that waits for what was read': 'const held = lock./*r*/holder; if (held) await held; await turn(); lock./*w*/holder = me',
    'a guard in a block around the block of the write': 'if (stats./*r*/full) return; try { await turn(); stats./*w*/used = 7 } finally { end() }',
    'a loop that searches and returns': 'for (const each of table./*r*/rows) { if (each.id === id) return } await turn(); table./*w*/push({ id })',
    'a loop by index that searches and throws': 'for (let n = 0; n < table./*r*/size; n++) if (at(n) === id) throw taken(); await turn(); table./*w*/push(id)',
    'a loop over something else that tests the value': 'const all = table./*r*/map; for (const id of ids) { if (all[id]) return } await turn(); table./*w*/push(id)',
    'a loop that waits': 'while (lock./*r*/busy) await turn(); lock./*w*/busy = true',
    'a loop that waits after its body': 'do { await turn() } while (lock./*r*/busy); lock./*w*/busy = true',
    'the body of a loop': 'while (stats./*r*/left) { await turn(); stats./*w*/used = 7 }',
    'the body of a counted loop': 'for (; stats./*r*/left;) { await turn(); stats./*w*/used = 7 }',
    'the body of a loop over the value': 'for (const each of stats./*r*/all) { await turn(); stats./*w*/used = 7 }',
    'a conditional expression': 'const was = stats./*r*/left; await turn(); was ? stats./*w*/set(7) : stop()',
    and: 'const was = stats./*r*/left; await turn(); was && stats./*w*/set(7)',
    or: 'const was = stats./*r*/full; await turn(); was || stats./*w*/set(7)',
    'if nothing is there': 'const was = stats./*r*/full; await turn(); was ?? stats./*w*/set(7)',
    'a switch': 'switch (order./*r*/state) { case "new": await turn(); order./*w*/state = "paid" }',
    'a flag that was set because of the value': 'let isFull = false; if (stats./*r*/full) isFull = true; await turn(); if (!isFull) stats./*w*/used = 7',
    'a slot whose index was read': 'const at = slots./*r*/next; await turn(); slots.all/*w*/[at] = me',
    'a counter that is lowered after a guard': 'const was = stats./*r*/left; if (was < 1) return; await turn(); stats./*w*/left--',
    'a field that is deleted after a guard': 'if (!map./*r*/x) return; await turn(); delete map./*w*/x',
    'a callback of a call on the value': 'stats./*r*/rows.forEach(() => { stats./*w*/used = 7 })'
  },
  both: {
    'the value is tested and written': 'const { /*r*/left } = stats; if (left < 1) return; await turn(); stats./*w*/left = left - 1'
  },
  independent: {
    'the value is answered': 'const was = stats./*r*/hits; await turn(); stats./*w*/seen = true; return was',
    'the variable has got another value': 'let was = stats./*r*/hits; await turn(); was = 5; stats./*w*/hits = was',
    'another field of the variable': 'const box = {}; box.was = stats./*r*/hits; box.own = 5; await turn(); stats./*w*/hits = box.own',
    'a counter that is raised': 'const was = stats./*r*/hits; await turn(); stats./*w*/hits++; return was',
    'an operator with something else': 'const was = stats./*r*/all; await turn(); stats./*w*/hits += 5; return was',
    'a test that leaves nothing': 'if (stats./*r*/full) log(); await turn(); stats./*w*/hits = 5',
    'a guard that comes after the write': 'const full = stats./*r*/full; await turn(); stats./*w*/hits = 5; if (full) return',
    'a loop over the value that leaves nothing': 'for (const each of stats./*r*/all) log(each); await turn(); stats./*w*/hits = 5',
    'a loop that returns for another reason': 'const was = stats./*r*/hits; for (const x of xs) if (x) return was; await turn(); stats./*w*/hits = 5',
    'a function that reads, and is handed on': 'const now = () => stats./*r*/hits; await turn(); stats./*w*/now = now',
    'a guard within a function within': 'const was = stats./*r*/hits; on(() => { if (was) return 1 }); await turn(); stats./*w*/hits = 5',
    'the name of a field that is the name of the variable': 'const hits = stats./*r*/hits; await turn(); stats./*w*/hits = other.hits',
    'a variable that is set in a branch, and replaced': 'let was; if (flag) { was = stats./*r*/hits } was = 1; await turn(); stats./*w*/hits = was'
  }
}

for (const [expected, cases] of Object.entries(bodies)) {
  for (const [name, body] of Object.entries(cases)) {
    t.test(`${expected}: ${name}`, async (t) => { t.equal(dependenceIn(`async function handler () { ${body} }`), expected) })
  }
}

/** Whole modules, where calls lead to the accesses. */
const modules: Record<string, Record<string, string>> = {
  data: {
    'helpers read and write': `
      function load () { return stats./*r*/hits }
      function save (hits) { stats./*w*/hits = hits }
      async function handler () { const was = /*r2*/load(); await turn(); /*w2*/save(was + 1) }`,
    'an arrow function reads': `
      const load = () => stats./*r*/hits
      async function handler () { const was = /*r2*/load(); await turn(); stats./*w*/hits = was }`,
    'helpers of helpers, one of them awaited': `
      function get () { return stats./*r*/hits }
      async function load () { await turn(); return /*r2*/get() }
      function save (name, { hits }) { stats./*w*/hits = hits }
      async function handler () { const was = /*r3*/await load(); await turn(); /*w2*/save('x', { hits: was }) }`
  },
  control: {
    'a helper says whether': `
      function isFull () { if (stats./*r*/left === 0) return true; return false }
      async function handler () { if (/*r2*/isFull()) return; await turn(); stats./*w*/left = 7 }`,
    'a helper throws': `
      function check () { if (stats./*r*/left === 0) throw new Error('none') }
      async function handler () { /*r2*/check(); await turn(); stats./*w*/left = 7 }`,
    'a helper writes, under a test of the caller': `
      function take () { stats./*w*/left = 7 }
      async function handler () { if (stats./*r*/left === 0) return; await turn(); /*w2*/take() }`,
    'a helper tests what it was given': `
      function take (left) { if (left > 0) stats./*w*/left = 7 }
      async function handler () { const was = stats./*r*/left; await turn(); /*w2*/take(was) }`,
    'a hook throws, a handler writes': `
      async function hook () { if (users./*r*/has(id)) throw new Error('taken') }
      async function handler () { await turn(); users./*w*/set(id, {}) }`,
    'a hook answers with an error, a handler writes': `
      async function hook (request, reply) { if (users./*r*/has(id)) return reply.code(409).send() }
      async function handler () { await turn(); users./*w*/set(id, {}) }`
  },
  independent: {
    'a helper throws for another reason': `
      function check () { const left = stats./*r*/left; if (bad) throw new Error('bad'); return left }
      async function handler () { /*r2*/check(); await turn(); stats./*w*/left = 7 }`,
    'a helper throws because of the value after the write': `
      function check () { if (stats./*r*/left === 0) throw new Error('none') }
      async function handler () { await turn(); stats./*w*/left = 7; /*r2*/check() }`,
    'a helper rethrows what it caught': `
      function check () { try { use(1) } catch (error) { if (stats./*r*/left === 0) throw error } }
      async function handler () { /*r2*/check(); await turn(); stats./*w*/left = 7 }`,
    'a helper is given something else': `
      function save (hits) { stats./*w*/hits = hits }
      async function handler () { const was = stats./*r*/hits; await turn(); /*w2*/save(5, was) }`,
    'a hook reads for itself, a handler writes': `
      function build (app) {
        app.addHook('onRequest', async () => { const was = stats./*r*/hits; if (was) count() })
        app.get('/', async () => { await turn(); stats./*w*/hits = 5 })
      }`,
    'a callback within the function that reads': `
      async function handler (request) { request.was = stats./*r*/hits; on(async () => { await turn(); stats./*w*/hits = 5 }) }`,
    'a helper says nothing of the value': `
      function load () { if (stats./*r*/hits) log(); return 5 }
      async function handler () { const was = /*r2*/load(); await turn(); stats./*w*/hits = was }`
  },
  unknown: {
    'no common function': `
      async function one () { return stats./*r*/hits }
      async function other () { stats./*w*/hits = 5 }`,
    'a hook answers with a success': `
      async function hook (request, reply) { if (users./*r*/has(id)) return reply.code(200).send() }
      async function handler () { await turn(); users./*w*/set(id, {}) }`,
    'a hook keeps the value with the request, a handler writes': `
      function build (app) {
        app.addHook('onRequest', async (request) => { request.was = stats./*r*/hits })
        app.get('/', async (req) => { await turn(); stats./*w*/hits = req.was + 1 })
      }`,
    'a helper keeps the value elsewhere': `
      function load () { cache.hits = stats./*r*/hits }
      async function handler () { /*r2*/load(); await turn(); stats./*w*/hits = 5 }`
  }
}

for (const [expected, cases] of Object.entries(modules)) {
  for (const [name, source] of Object.entries(cases)) {
    t.test(`${expected}: ${name}`, async (t) => { t.equal(dependenceIn(source), expected) })
  }
}

t.test('a function that can\'t suspend has not read in an earlier turn what it writes', async (t) => {
  const body = '{ const was = stats./*r*/hits; stats./*w*/hits = was + 1 }'
  t.equal(dependenceIn(`function handler () ${body}`), 'unknown')
  t.equal(dependenceIn(`function handler () ${body}`, false), 'data')
  t.equal(dependenceIn(`async function handler () ${body}`), 'data')
  t.equal(dependenceIn(`function * handler () ${body}`), 'data')
  t.equal(dependenceIn(`class A { async handler () ${body} }`), 'data')
})

t.test('accesses in one statement, and literals', async (t) => {
  const frames = framesIn('function f () { if (a./*r*/b - a./*w*/c < 1) { a.d = 1 } }')
  t.ok(isSameStatement(frames('r'), frames('w')))
  const apart = framesIn('function f () { if (a./*r*/b) { a./*w*/c = "paid" } }')
  t.notOk(isSameStatement(apart('r'), apart('w')))
  t.notOk(isSameStatement([], []))
  t.ok(writesText(apart('w')))
  const number = framesIn('function f () { a./*w*/c = 5 }')
  t.notOk(writesText(number('w')))
  t.notOk(writesText([]))
})
