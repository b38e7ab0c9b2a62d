// Zero-edit mode: races in applications that know nothing of the detector.
import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { mistakeIn } from '../src/register/check.ts'
import { runtime } from '../src/register/runtime.ts'
import { rewrite } from '../src/register/rewrite.ts'
import { loadParser, type Ts } from '../src/source/parse.ts'

const ts = loadParser() as Ts
const path = (file: string): string => fileURLToPath(new URL(file, import.meta.url))
const typescript = ['--import', path('../../loader/typescript.js')]
const register = ['--import', path('../src/register/index.ts')]

interface Run { code: number, stderr: string }

/** Runs a script that sends overlapping requests to applications. */
async function run (script: string, files: readonly string[], preloads: string[], env: NodeJS.ProcessEnv = { RACE: '1' }): Promise<Run> {
  const args = ['--conditions=fastify-concurrency-source', ...preloads, path(script), ...files]
  return new Promise((resolve) => {
    execFile(process.execPath, args, { env: { ...process.env, NODE_OPTIONS: '', ...env } }, (error, _stdout, stderr) => resolve({ code: Number(error?.code ?? 0), stderr }))
  })
}

for (const [file, report] of [
  ['go-counter.js', /WARNING: RACE lost update on .*go-counter\.js:\d+:\d+/s],
  ['go-lazy-init.cjs', /WARNING: RACE check then act on .*go-lazy-init\.cjs:\d+:\d+/s],
  ['cooldown.ts', /WARNING: RACE .*cooldown\.ts:\d+:\d+/s]
] as const) {
  t.test(`a race in ${file} is found, and the process exits with 66`, async (t) => {
    const { code, stderr } = await run('corpus/drive.ts', [file], [...typescript, ...register])
    t.equal(code, 66)
    t.match(stderr, report)
  })
}

/** The locations of the confirmed reports of each application. */
async function reportsOf (script: string, files: readonly string[]): Promise<Record<string, string[]>> {
  const { stderr } = await run(script, files, [...typescript, ...register])
  const reports: Record<string, string[]> = {}
  let since: string[] = []
  for (const line of stderr.split('\n')) {
    const [, location] = /^WARNING: RACE (?!\(possible\))[a-z ]+ on (.+)$/.exec(line) ?? []
    const [, file] = /^== (.+?): [\d ]+$/.exec(line) ?? []
    if (location !== undefined) since.push(location)
    if (file !== undefined) {
      reports[file] = since
      since = []
    }
  }
  return reports
}

/** An app is a file, or a folder of modules. */
const appsIn = (folder: string): string[] => readdirSync(path(`apps/${folder}`), { withFileTypes: true }).map((entry) => `${folder}/${entry.name}${entry.isFile() ? '' : '/app.mjs'}`)

t.test('applications as users write them: classes, private fields, closures, decorators, objects from elsewhere', async (t) => {
  const reports = await reportsOf('apps/drive.ts', appsIn('racy'))
  t.strictSame(Object.fromEntries(Object.entries(reports).map(([file, [first]]) => [file, first])), {
    'racy/closure-factory.mjs': 'free',
    'racy/current-user.js': 'this.user',
    'racy/decorated-state.js': 'stats.total',
    'racy/failover.mjs': 'primary',
    'racy/inventory-service.ts': 'items.pen.left',
    'racy/json-config.cjs': 'flags.beta.enabled',
    'racy/lazy-client.js': 'client',
    'racy/ledger/app.mjs': 'balance',
    'racy/outbox.js': 'Outbox.cursor',
    'racy/parking.js': 'floors[0][0]',
    'racy/private-field.js': 'InvoiceNumbers.#last',
    'racy/quota.cjs': 'quotas.get(an object)',
    'racy/room-plugin.js': 'this.guests',
    'racy/seat-map.ts': 'Hall2.states[0]',
    'racy/usage.ts': 'usage.get("acme")',
    'racy/visit-counter.cjs': 'visits',
    'racy/voters-set.ts': 'voters.has("ada")',
    'racy/wallet-class.ts': 'Wallet.balance'
  })
})

t.test('applications without a race are silent', async (t) => {
  const plain = ['guarded-flag.ts', 'gauge.cjs', 'version-retry.js', 'memoized-promise.js', 'copy-on-write.ts', 'synchronous-claim.cjs']
  for (const [script, files] of [['apps/drive.ts', appsIn('clean')], ['corpus/drive.ts', plain]] as const) {
    t.strictSame(await reportsOf(script, files), Object.fromEntries(files.map((file) => [file, []])))
  }
})

t.test('without RACE=1 nothing is rewritten or watched', async (t) => {
  t.match(await run('corpus/drive.ts', ['go-counter.js'], [...typescript, ...register], { RACE: '' }), { code: 0, stderr: /^== go-counter\.js: [\d ]+\n$/ })
})

/** Runs a rewritten module with a runtime that notes what it is told of, and returns that with the module's `result`. */
function evaluate (source: string): { seen: string[], result: unknown } {
  const seen: string[] = []
  const $$race = {
    shared: <T>(value: T, name: string): T => { seen.push(`shared ${name}`); return value },
    cell: (name: string) => ({ name }),
    read: <T>(cell: { name: string }, value: T): T => { seen.push(`read ${cell.name}`); return value },
    write: <T>(cell: { name: string }, value: T): T => { seen.push(`write ${cell.name}`); return value },
    data: <T>(value: T, name: string): T => { seen.push(`data ${name}`); return value },
    of: (_object: unknown, path: string) => ({ name: path }),
    note: (_object: unknown, path: string) => { seen.push(`note ${path}`) },
    hold: runtime.hold,
    held: runtime.held,
    target: (cell: { name: string }, set: (value: unknown) => void, get: () => unknown) => ({ get value () { seen.push(`read ${cell.name}`); return get() }, set value (value: unknown) { seen.push(`write ${cell.name}`); set(value) } }),
    step: runtime.step,
    raw: runtime.raw,
    fields: () => {}
  }
  const { text } = rewrite(ts, 'module.js', source) ?? { text: source }
  const result: unknown = new Function('$$race', `${text}\nreturn result`)($$race) // eslint-disable-line no-new-func -- the rewritten source is run
  return { seen, result }
}

t.test('what functions share is told of, and the module does what it did', async (t) => {
  for (const [source, seen, result] of [
    ['const map = new Map()\nconst f = () => map.set(1, 2).size\nconst result = f()', ['shared map'], 1],
    ['let n = 1\nfunction f () { n += 2; return n }\nconst result = f()', ['read n', 'write n', 'read n'], 3],
    ['let n = 1\nconst f = () => n++\nconst result = [f(), n]', ['read n', 'write n', 'read n'], [1, 2]],
    ['let n = 1\nconst f = () => --n\nconst result = [f(), n]', ['read n', 'write n', 'read n'], [0, 0]],
    ['let n\nconst f = () => { n ??= 5\nreturn { n } }\nconst result = [f(), f()]', ['read n', 'write n', 'read n', 'read n', 'read n'], [{ n: 5 }, { n: 5 }]],
    ['let C = class { x = 1 }\nconst f = () => { C = C; return new C().x }\nconst result = f()', ['read C', 'write C', 'read C'], 1],
    ['let a = 1\nconst f = (a) => { a = 2; return a }\nconst result = [f(), a]', [], [2, 1]],
    ['let [a, b] = [1, 2]\nconst f = () => { [a, b] = [b, a]; return a }\nconst result = [f(), b]', ['read b', 'read a', 'write a', 'write b', 'read a', 'read b'], [2, 1]],
    ['let a, b, c\nconst f = () => { ({ a, x: b = 2, ...c } = { a: 1, y: 3 })\nfor (a of [7]); return [a, b, c] }\nconst result = f()', ['write a', 'write b', 'write c', 'write a', 'read a', 'read b', 'read c'], [7, 2, { y: 3 }]],
    ['class A { n = 1; m = 2; swap () { [this.n, this.m] = [this.m, this.n]; return this } }\nconst { n, m } = new A().swap()\nconst result = [n, m]', ['read this.m', 'read this.n', 'write this.n', 'write this.m'], [2, 1]],
    ['let n = 0\nfor (let i = 0; i < 3; i++) n += i\nconst result = n', [], 3],
    ['const state = { n: 0 }\nconst f = () => { state.n++; return state.n }\nconst result = f()', ['shared state', 'read state.n', 'write state.n', 'read state.n'], 1],
    ['const config = { n: 7 }\nconst f = () => config.n\nconst result = f()', ['read config.n'], 7],
    ['class A { items = []; constructor () { this.map = new Map() } }\nconst result = new A().items.length', ['shared items', 'write this.map', 'shared this.map'], 0],
    ['let n = 1n\nconst f = () => { n++\nn++ }\nf()\nconst result = n', ['read n', 'write n', 'read n', 'write n', 'read n'], 3n],
    ['let n = "5"\nconst f = () => n++\nconst result = [f(), n]', ['read n', 'write n', 'read n'], [5, 6]],
    ['class A { #n = 1; add () { this.#n += 2\nreturn this.#n++ } get n () { return this.#n } }\nconst a = new A()\nconst result = [a.add(), a.n]', ['read this.#n', 'write this.#n', 'read this.#n', 'write this.#n', 'read this.#n'], [3, 4]],
    ['class A { n = 1; add () { const { n, m = 5 } = this; this.n = n + m; return this } }\nconst result = new A().add().n', ['note this.n', 'note this.m', 'write this.n'], 6],
    ['class A { set () { this.list = []\nthis.at ??= this.list.length\nreturn this } }\nconst result = new A().set().at', ['write this.list', 'shared this.list', 'read this.at', 'read this.list', 'read this.list.length', 'write this.at'], 0],
    ['const make = (left) => { const take = () => { left -= 1; return left }; return take }\nconst result = make(3)()', ['read left', 'write left', 'read left'], 2],
    ['const users = JSON.parse("{}")\nconst f = () => { users.a = 1; return users?.a }\nconst result = f()', ['data users', 'write users.a', 'read users?.a'.replace('?', '')], 1],
    ['const f = (a) => a?.b.c\nconst result = f()', [], undefined],
    ['const f = (a) => { try { a.b() } catch (error) { return error.message } }\nconst result = f({})', ['read error.message'], 'a.b is not a function'],
    ['const f = (page) => page.evaluate(() => document.title)\nconst result = f({ evaluate: (fn) => fn.toString() })', [], '() => document.title'],
    ['const f = (list) => { const seen = new Set(list); return [...seen] }\nconst result = f([1, 1])', [], [1]],
    ['const f = () => { const seen = new Map(); return { seen } }\nconst result = f().seen.size', ['shared seen'], 0],
    ['const a = {}\nconst f = (b) => [a === b, a != b, b === undefined, typeof b === "object"]\nconst result = f(a)', [], [true, false, false, true]],
    ['const f = (map = new Map()) => map\nconst result = f().size', ['shared Map'], 0],
    ['class A { #n = 1; static of (a) { return a?.#n } add () { this.#n++; return this } }\nconst result = [A.of(new A().add()), A.of(undefined)]', ['read this.#n', 'write this.#n', 'read a.#n', 'read a.#n'], [2, undefined]],
    ['let n = 1\nconst o = { a: 1 }\nfunction f(x){if(x)n++;else++o.a;do++n;while(n<3)\nreturn++n}\nconst result = [f(1),typeof++n,n]', ['shared o', 'read n', 'write n', 'read n', 'write n', 'read n', 'read n', 'write n', 'read n', 'write n', 'read n'], [4, 'number', 5]],
    ['let n = 1\nconst o = { a: 1 }\nconst f = () => { (n) = 3; (n)++; ++(n); (o.a) = 4; ((o.a)) += 1; (o.b) ??= n; return (n) }\nconst result = [f(), o]', ['shared o', 'write n', 'read n', 'write n', 'read n', 'write n', 'write o.a', 'read o.a', 'write o.a', 'read o.b', 'read n', 'write o.b', 'read n'], [5, { a: 5, b: 5 }]],
    ['const state = { n: 0 }\nconst f = () => { Object.assign(state, { n: 1 }); return state.n }\nconst result = f()', ['shared state', 'read state.n'], 1],
    ['const store = (items) => { return { add: (item) => items.push(item) } }\nconst result = store([]).add(1)', ['data items'], 1],
    // An edit that begins with a name stands right behind a keyword, as compilers that remove white space leave it.
    ['let n = 1\nconst f = () => {return++n}\nconst result = f()', ['read n', 'write n'], 2],
    ['let n = 1\nconst o = { a: 1 }\nconst f = () => {if(n>5)n=0;else++o.a;do++n;while(n<3);switch(n){case-1:case++n:}return typeof++n+o.a}\nconst result = f()', undefined, 'number2'],
    ['let n = 1\nconst f = function*(){yield++n;yield n;return void--n}\nconst result = [...f()]', undefined, [2, 2]],
    ['let list = [1]\nconst f = (o) => {list = [1];return[list]===o}\nconst result = f()', undefined, false],
    // What is assigned stands in parentheses.
    ['let n = 1\nconst f = () => { (n) = 3; ((n))++; ++(n); (n) += 2; (n) ??= 9; return (n) }\nconst result = f()', undefined, 7],
    ['let n = 1\nconst f = () => { (n) = 3 }\nf()\nconst result = n', ['write n', 'read n'], 3],
    ['const o = { a: 1, k: null }\nconst f = () => { (o.a) = 4; (o.a)++; ((o).a) *= 2; (o.k) ||= 5; [(o.b)] = [7]; return o }\nconst result = f()', undefined, { a: 10, k: 5, b: 7 }],
    ['let f\nconst set = () => { (f) = function () {} }\nset()\nconst result = f.name', undefined, ''],
    ['class Board { constructor (tickets) { this.tickets = tickets } remove () { return this.tickets.splice(0, 1) } }\nconst result = new Board([1]).remove()', ['write this.tickets', 'data this.tickets', 'read this.tickets'], [1]]
  ] as const) {
    const evaluated = evaluate(source)
    t.strictSame(evaluated.result, result, source)
    if (seen !== undefined) t.strictSame(evaluated.seen, seen, source)
  }
})

t.test('lines stay where they are, types too; what can\'t be parsed runs as it is', async (t) => {
  const source = 'let n: number = 1\nexport const state = { n: 0 } as { n: number }\nexport function f (): typeof n {\n  n = 2\n  return n\n}\n'
  const { text } = rewrite(ts, 'module.ts', source) ?? { text: '' }
  t.strictSame(text.split('\n'), [
    'var $$race_0=$$race.cell("n");let n: number = 1',
    'export const state = $$race.shared({ n: 0 } as { n: number }, "state")',
    'export function f (): typeof n {',
    '  n = $$race.write($$race_0, 2, n)',
    '  return $$race.read($$race_0, n)',
    '}',
    ''
  ])
  const targets = 'let n: number | undefined = 1\nexport const f = (o: { a?: number }): void => { n!++; (n as number) += 1; (n satisfies number | undefined) = 2; (o.a as number)--; o.a! ||= 3; [(n as number)] = [4] }\n'
  t.match(rewrite(ts, 'module.ts', targets)?.text, /n = \$\$race\.write\(.*\(n as number\) = \$\$race\.write\(.*\(n satisfies number \| undefined\) = \$\$race\.write\(.*o\.a = \$\$race\.write\(.*o\.a\) \|\| \(o\.a = /)
  const merged = 'namespace A { export let n = 0; export const f = () => { n++ } }\nnamespace A { export const g = () => n + 1 }\n'
  t.match(rewrite(ts, 'module.ts', merged)?.text.split('\n')[1], 'namespace A { export const g = () => n + 1 }')
  // Fields are known before the first line that may serve a request, and directives stay first.
  t.match(rewrite(ts, 'module.cjs', '\'use strict\'\nconst f = (app) => { app.user = 1 }\n')?.text.split('\n'), ['\'use strict\'', /^\$\$race\.fields\("user"\);const f/])
  t.throws(() => rewrite(ts, 'module.js', '\nthis is ( no JavaScript'), { message: /TypeScript can't parse it: .* \(line 2\)/ })
  t.equal(rewrite(ts, 'module.js', 'export const one = 1'), undefined)
})

t.test('what is assigned may have types and stand in parentheses', (t) => {
  const rewritten = (source: string): string | undefined => rewrite(ts, 'module.ts', `import { shared } from './shared.ts'; let n: any = 1; const s: any = {}; export const g = () => { n = 2 }; export const f = () => {\n${source}\n}`)?.text.split('\n').slice(1, -1).join('\n')
  for (const [source, text] of [
    ['n!++', 'n = $$race.write($$race_0, $$race.step($$race.read($$race_0, n), 1), n)'],
    ['(n as any) = 5', '(n as any) = $$race.write($$race_0, 5, n)'],
    ['(n satisfies any)--', 'n = $$race.write($$race_0, $$race.step($$race.read($$race_0, n), -1), n)'],
    ['n!+=2', 'n! = $$race.write($$race_0, $$race.read($$race_0, n) + (2), n)'],
    ['(s.k as any) ||= 5', '$$race.read($$race.of(s, "s.k"), s.k) || (s.k = $$race.write($$race.of(s, "s.k"), 5))'],
    ['s.p!.q! = 5', '$$race.hold(s.p).q = $$race.write($$race.of($$race.held(), "s.p.q"), 5)'],
    ['(s as any).k = 5', '(s as any).k = $$race.write($$race.of(s, "s.k"), 5)'],
    ['(shared as any).k++', 'shared.k = $$race.write($$race.of(shared, "shared.k"), $$race.step($$race.read($$race.of(shared, "shared.k"), shared.k), 1))'],
    // Lines stay, whatever is repeated or left out.
    ['(\nn\n)++', 'n = $$race.write($$race_0, $$race.step($$race.read($$race_0, n), 1), n)\n\n'],
    ['s\n  .k += 2', 's\n  .k = $$race.write($$race.of(s, "s.k"), $$race.read($$race.of(s, "s.k"), s.k) + ( 2))']
  ] as const) t.equal(rewritten(source), text, source)
  t.end()
})

t.test('a variable of a namespace belongs to its block', (t) => {
  const { text = '' } = rewrite(ts, 'module.ts', 'namespace A { export let n = 0; export const up = () => n++ }\nnamespace A { export const more = () => n + 1 }\nexport { A }') ?? {}
  t.match(text.split('\n'), [/\$\$race\.target\(\$\$race_0/, 'namespace A { export const more = () => n + 1 }'])
  t.end()
})

t.test('a rewriting that is wrong is found before it runs', (t) => {
  const parsed = (text: string) => ts.createSourceFile('module.js', text, ts.ScriptTarget.Latest, true)
  const source = parsed('let n = 0; const o = {}; function f () { return++n }')
  for (const [text, mistake] of [
    ['let n = 0; f(', /expected/],
    ['function f () { return$$race.step(n) }', /a name that the source does not have: return\$\$race \(line 1\)/],
    ['\nf() = 1', /an assignment to something that is no variable and no field: f\(\) = 1 \(line 2\)/],
    ['(f())++', /an assignment/],
    ['(f()) ??= 1', /an assignment/],
    ['function f () { var $$race_0=1 } $$race_0', /a variable of another scope: \$\$race_0/],
    ['var $$race_0=$$race.cell("n"); let n = $$race.write($$race_0, 1); [o.a, n] = [n, 1]; ({ o } = n); (n)++; o["a"] += 1', undefined]
  ] as const) {
    if (mistake === undefined) t.equal(mistakeIn(ts, parsed(text), source), undefined, text)
    else t.match(mistakeIn(ts, parsed(text), source), mistake, text)
  }
  t.end()
})
