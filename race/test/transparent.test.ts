/**
 * A rewritten module does what its source does: each form of an expression, with each form in its place of an operand, is run as it is and
 * rewritten, within a request of an app that is watched. Values, errors, the order of calls of getters and functions, and the state afterwards
 * are compared.
 */
import t from 'tap'
import { Context, runIn } from '../src/context.ts'
import { detector } from '../src/detector.ts'
import { hasFailed } from '../src/failure.ts'
import { patchIdentity } from '../src/register/identity.ts'
import { rewrite } from '../src/register/rewrite.ts'
import { runtime } from '../src/register/runtime.ts'
import { loadParser } from '../src/source/parse.ts'
import { unwrap } from '../src/tracked.ts'

const ts = loadParser()!

t.setTimeout(600_000)
patchIdentity()
t.teardown(detector.use())
t.teardown(detector.reports.silence())

/** The state of the programs. Getters, methods and constructors note that they are called. */
const PRELUDE = `
let v = 1, u, w = { n: 5, C: class W { constructor (...args) { this.args = args } } }
class Parent { get up () { log('up'); return 7 } m (x) { log('super.m'); return [x, this.n] } static sm (x) { return [this.name, x] } }
class Host extends Parent {
  static count = 0
  #p = 1
  #inner = { n: 3 }
  n = 2
  q = { n: 8, deep: { n: 9 } }
  get g () { log('get g'); return this.q }
  set g (value) { log('set g'); this.q = value }
  hidden (f) { log('hidden'); return f(this.#p) }
  CALLS
}
const elements = [{ id: 1 }, { id: 2 }]
const o = {
  n: 1, list: [1, 2, 3], objects: elements, big: 10n, zero: -0, text: 'x', none: undefined, nil: null, frozen: Object.freeze({ n: 1 }),
  nested: { n: 2, C: class Inner { constructor (...args) { log('new Inner'); this.args = args; this.target = new.target.name } }, f (...args) { log('nested.f'); return [this.n, args] }, tag (texts, ...args) { return [texts.raw, args, this.n] } },
  C: class Outer { constructor (...args) { log('new Outer'); this.args = args } },
  get g () { log('get o.g'); return this.nested },
  get h () { log('get o.h'); return { get n () { log('get h.n'); return 4 }, set n (value) { log('set h.n ' + value) } } },
  f (...args) { log('o.f'); return [this === undefined ? 'none' : this.n, args] },
  make () { log('make'); return this.C }, tag (texts, ...args) { log('tag'); return [texts.length, args] },
  map: new Map([[elements[0], 1], ['a', { n: 1 }]])
}
const tag = (texts, ...args) => [texts.raw.join('|'), args]
const call = (fn) => fn()
function touch (host) {
  v = v; u = u; w = w; o.n = o.n; o.nested = o.nested; o.list.push(4); o.list.pop(); o.nested.n = 2; o.objects.push(1); o.objects.pop(); w.n = 5; o.frozen = o.frozen; o.big = 10n; o.zero = -0; o.none = undefined
  o.C = o.C; o.nested.C = o.nested.C; o.map = o.map; o.text = o.text; o.nil = null; host.q = host.q; host.n = 2; host.q.n = 8; host.q.deep = host.q.deep; host.q.deep.n = 9; Host.count = 0; Host.count++
}
`

/** What can be read and assigned. */
const places = ['v', 'u', 'w.n', 'o.n', 'o.nested.n', 'o.g.n', 'o.h.n', 'this.n', 'this.q.n', 'this.g.n', 'this.g.deep.n', 'this.#p', 'this.#inner.n', 'o["n"]', 'o.list[0]', 'o.nested["n"]', 'Host.count', 'o.big', 'o.zero', 'o.none', 'o.text', 'o.frozen.n', 'o.nil.n']

/* eslint-disable no-template-curly-in-string -- sources of template literals */
/** `E` is an operand, `P` a place. */
const forms = [
  'P', 'P = E', 'P += E', 'P -= E', 'P **= E', 'P >>>= E', 'P ??= E', 'P ||= E', 'P &&= E', 'P++', '--P', '(P)++', '(P) = E', '[P] = [E]', '[, P = E, ...w.rest] = [0]', '({ a: P } = { a: E })', '({ a: { b: [P = E] } } = { a: { b: [] } })', '({ v, ...P } = { v: E, x: 1 })',
  '[P, v] = [v, P]', '[...[P]] = [E]', '`${P}-${E}`', 'typeof P', 'void E', '!E', '-P', '(E, P)', 'E ? P : E', 'E ?? P', 'P || E', 'P && E', '[E, ...[P]]', '({ a: E, v, [P]: 1, ...o.nested })', '({ f () { return E } }).f()', '({ get x () { return E } }).x',
  'tag`a${E}b`', 'o.tag`${E}`', 'o.nested.tag`${P}`', 'o.g.tag`x`', 'o.f(E)', 'o.nested.f(E, P)', '(o.nested.f)(E)', '(0, o.nested.f)(E)', 'o.g.f(...[E])', 'o.nested?.f(E)', 'o.nested?.f?.(E)', 'o.none?.f(E)', 'o.none?.x.y[E]', 'o?.nested?.n', 'o.nested.missing(E)', 'o.nil?.n', 'u.x', 'delete o.nested.n', 'delete o.list[E]',
  'new o.C(E)', 'new o.nested.C(E)', 'new o.nested.C', 'new o.g.C(E)', 'new o["C"](E)', 'new o.nested["C"](P)', 'new w.C(E)', 'new (o.make())(E)', 'new (o.make().bind(null, E))()', 'new o.nested.C(E).args[0]', 'new o.C().args.length', 'new (class { x = E; #y = P; static s = 1; get () { return [this.x, this.#y] } })().get()',
  '(class extends o.C {}).name', '(class extends o.nested.C { constructor () { super(E) } }).length', '(() => E)()', '(function () { return [this === o, E] }).call(o)', '((a = P, { b = E } = {}) => [a, b])()', '(({ n }) => n)(o.nested)', '(function* () { const got = yield E; return [got, P] })().next().value', '[...(function* () { yield* [E, P] })()]', '(async () => E)().catch(() => {}) instanceof Promise', 'call(() => P)',
  'E === P', 'o.objects[0] === elements[0]', 'Object.is(o.objects[0], elements[0])', 'E instanceof o.C', '"n" in o.nested', 'new Set(o.objects).has(elements[0])', 'new Set(elements).has(o.objects[0])', 'new Map(o.objects.map((each) => [each, E])).get(elements[0])', 'new WeakSet(o.objects).has(elements[1])', 'new WeakMap([[o.objects[0], E]]).get(elements[0])',
  '(() => { class Own extends Set {} return new Own(o.objects).has(elements[0]) })()', 'new Set([o.objects[1]]).size', 'o.map.get(o.objects[0])', '[...o.map.keys()].indexOf(elements[0])', '(v = () => {}).name', '(u = class {}).name', '(w.n = () => {}).name', '(v ??= function () {}).name', 'super.up', 'super.m(E)', 'super.m(P)[0]', 'Host.sm(E)', 'arguments[0]', 'new.target',
  '(() => { switch (P) { case E: return "same"; case o.nested.n: return "nested"; default: return "other" } })()', '(() => { for (P of [E, 2]) if (v === 3) break; return P })()', '(() => { const got = []; for (P in { a: 1, b: E }) got.push(P); return got })()', '(() => { const { n, deep: { n: m } } = this.q; return [n, m, E] })()', '(() => { const { n, missing = E } = this.g; return [n, missing] })()', '(() => { const { n, ...rest } = o.g; return [n, Object.keys(rest)] })()',
  '(() => { try { return P.x.y } catch (error) { return error.message } })()', '(() => { try { throw E } catch (v) { v = v; return v } finally { P; } })()', '(() => { let v = E; const f = () => v++; f(); return v })()', '(() => { { let o = { n: E }; o.n++; return o.n } })()', '(() => { for (let v = 0; v < 2; v++) call(() => v); return v })()', '(() => { label: for (;;) { P; break label } return E })()',
  'JSON.stringify(o.nested)', 'o.list.map((each) => [each, E])', 'o.list.concat(o.list).includes(P)', 'Object.entries(o.nested).length', 'structuredClone(o.list)', 'this.hidden((x) => [x, E])', '/a/.test(E)', 'o.text.length', 'o.list.length', 'P\n++v', '+P', '[o.list.at(-1), o.list.push(E), o.list.length]', 'Array.isArray(o.list)', 'o.big * 2n', 'o.big++', '1 / o.zero++', '1 / -o.zero'
]

const LEAF = '3'
const fill = (form: string, operand: string, place: string): string => form.replace(/\bE\b/g, () => `(${operand})`).replace(/\bP\b/g, () => place)

/** Each form with each place, and, if they are nested, with each other form for its operand. */
function * expressions (form: string, isNested: boolean): Generator<string> {
  const hasPlace = /\bP\b/.test(form)
  for (const place of hasPlace ? places : ['']) yield fill(form, LEAF, place)
  if (!isNested || !/\bE\b/.test(form)) return
  for (const [index, inner] of forms.entries()) yield fill(form, fill(inner, LEAF, places[index % places.length] as string), places[(index * 7 + 3) % places.length] as string)
}

function isValid (expression: string): boolean {
  const source = `class Host extends Object { #p; #inner; test () {\nreturn (${expression}) } }`
  const file = ts.createSourceFile('x.js', source, ts.ScriptTarget.Latest) as { parseDiagnostics?: unknown[] }
  try {
    compile(source)
    return file.parseDiagnostics?.length === 0
  } catch {
    return false
  }
}

const program = (all: readonly string[], isStrict: boolean): string => `${isStrict ? '"use strict";' : ''}${PRELUDE.replace('CALLS', () => all.map((expression, index) => `t${index} () {\nreturn (${expression}) }`).join('\n'))}
return { touch, Host, state: () => [v, u, w, o] }`

type Program = (log: (text: string) => void, $$race: typeof runtime) => { touch: (host: object) => void, Host: new () => Record<string, (argument: string) => unknown>, state: () => unknown }
const compile = (source: string): Program => new Function('log', '$$race', source) as Program // eslint-disable-line no-new-func -- what is rewritten is run

/** A text for a value; what stands for a value is the value. */
function show (value: unknown, depth = 0): string {
  const raw = unwrap(value)
  if (typeof raw === 'function') return `function ${raw.name}`
  if (typeof raw === 'bigint') return `${raw}n`
  if (Object.is(raw, -0)) return '-0'
  if (typeof raw === 'string') return JSON.stringify(raw)
  if (typeof raw !== 'object' || raw === null || depth > 5) return String(raw)
  // The engine quotes the source.
  if (raw instanceof Error) return `${raw.name}: ${raw.message.replace(/.* (?=is not (?:a function|a constructor|iterable))|of '.*' as it/, '')}`
  if (raw instanceof Map || raw instanceof Set) return `${raw.constructor.name}(${[...raw].map((each) => show(each, depth + 1)).join()})`
  return `${(Object.getPrototypeOf(raw) as { constructor?: { name: string } } | null)?.constructor?.name}{${Reflect.ownKeys(raw).map((key) => {
    const { get, value } = Object.getOwnPropertyDescriptor(raw, key) ?? {}
    return `${String(key)}:${get === undefined ? show(value, depth + 1) : 'getter'}`
  }).join()}}`
}

function outcome (make: () => ReturnType<Program>, index: number, log: string[]): string {
  const { touch, Host, state } = make()
  const host = new Host()
  touch(host)
  log.length = 0
  let result: string
  try {
    result = show(host[`t${index}`]?.('argument'))
  } catch (error) {
    result = `threw ${show(error)}`
  }
  return [result, ...log, show(host), show(state())].join('\n')
}

for (const isStrict of [true, false]) {
  t.test(`${isStrict ? 'no form of an expression, with any other for its operand, differs' : 'no form of an expression differs in sloppy code'}`, async (t) => {
    let count = 0
    const different: string[] = []
    for (const form of forms) {
      const all = [...expressions(form, isStrict)].filter(isValid)
      count += all.length
      const source = program(all, isStrict)
      const rewritten = rewrite(ts, '/transparent.js', source.replace(/\nreturn \{ touch/, '\nconst result = { touch'))
      if (rewritten === undefined) throw new Error('nothing was rewritten')
      const log: string[] = []
      const [plain, watched] = [source, `${rewritten.text}\nreturn result`].map((text) => {
        const run = compile(text)
        return () => run((text) => log.push(text), runtime)
      }) as [() => ReturnType<Program>, () => ReturnType<Program>]
      for (const [index, expression] of all.entries()) {
        const expected = outcome(plain, index, log)
        const found = runIn(new Context('request', t), () => outcome(watched, index, log))
        if (expected !== found) different.push(`${expression}\n  as it is: ${expected.replaceAll('\n', '\n    ')}\n  rewritten: ${found.replaceAll('\n', '\n    ')}`)
      }
    }
    t.comment(`${count} expressions`)
    t.ok(count > (isStrict ? 5_000 : 500))
    t.equal(different.length, 0, different.slice(0, 20).join('\n\n'))
    t.equal(hasFailed(), false, 'the detector has not failed')
  })
}
