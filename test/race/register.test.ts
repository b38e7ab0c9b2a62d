// Zero-edit mode: races in applications that know nothing of the detector.
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { rewrite } from '../../plugins/race/register/rewrite.ts'
import { loadParser, type Ts } from '../../plugins/race/source/parse.ts'

const ts = loadParser() as Ts
const path = (file: string): string => fileURLToPath(new URL(file, import.meta.url))
const tsx = ['--import', path('../../tsx.js')]
const register = ['--import', path('../../plugins/race/register/index.ts')]

interface Run { code: number, stderr: string }

/** Runs an application of the corpus's plain/ under overlapping requests. */
async function run (file: string, preloads: string[], env: NodeJS.ProcessEnv = { RACE: '1' }): Promise<Run> {
  const args = ['--conditions=fastify-concurrency-source', ...preloads, path('corpus/drive.ts'), file]
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
    const { code, stderr } = await run(file, [...tsx, ...register])
    t.equal(code, 66)
    t.match(stderr, report)
  })
}

t.test('applications without a race are silent', async (t) => {
  for (const file of ['guarded-flag.ts', 'gauge.cjs', 'version-retry.js', 'memoized-promise.js', 'copy-on-write.ts', 'synchronous-claim.cjs']) {
    const { code, stderr } = await run(file, [...tsx, ...register])
    t.equal(code, 0, file)
    t.notMatch(stderr, /WARNING: RACE (?!\(possible\))/, file)
  }
})

t.test('without RACE=1 nothing is rewritten or watched', async (t) => {
  t.match(await run('go-counter.js', [...tsx, ...register], { RACE: '' }), { code: 0, stderr: '' })
})

/** Runs a rewritten module with a runtime that notes what it is told of, and returns that with the module's `result`. */
function evaluate (source: string): { seen: string[], result: unknown } {
  const seen: string[] = []
  const $$race = {
    shared: <T>(value: T, name: string): T => { seen.push(`shared ${name}`); return value },
    cell: (name: string) => ({ name }),
    read: <T>(cell: { name: string }, value: T): T => { seen.push(`read ${cell.name}`); return value },
    write: <T>(cell: { name: string }, value: T): T => { seen.push(`write ${cell.name}`); return value }
  }
  const { text } = rewrite(ts, 'module.js', source) ?? { text: source }
  const result: unknown = new Function('$$race', `${text}\nreturn result`)($$race) // eslint-disable-line no-new-func
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
    ['let [a, b] = [1, 2]\nconst f = () => { [a, b] = [b, a]; return a }\nconst result = f()', [], 2],
    ['let n = 0\nfor (let i = 0; i < 3; i++) n += i\nconst result = n', [], 3],
    ['const state = { n: 0 }\nconst f = () => { state.n++; return state.n }\nconst result = f()', ['shared state'], 1],
    ['const config = { n: 7 }\nconst f = () => config.n\nconst result = f()', [], 7],
    ['class A { items = []; constructor () { this.map = new Map() } }\nconst result = new A().items.length', ['shared items', 'shared this.map'], 0]
  ] as const) {
    t.strictSame(evaluate(source), { seen, result }, source)
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
  t.equal(rewrite(ts, 'module.js', 'this is ( no JavaScript'), undefined)
  t.equal(rewrite(ts, 'module.js', 'export const one = 1'), undefined)
})
