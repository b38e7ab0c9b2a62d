// Compiled TypeScript: what tsc makes runs as it is meant to be run, and reports and errors name the TypeScript.
import { execFile } from 'node:child_process'
import { rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { execArgv } from '../../test/helper.ts'

const { resolve } = createRequire(import.meta.url)
const register = ['--import', fileURLToPath(new URL('../src/register/index.ts', import.meta.url))]

t.setTimeout(600_000)

/** The columns of the read, the write and the error are not those of the JavaScript: types and a parameter property stand before them. */
const SERVICE = `import { setImmediate as turn } from 'node:timers/promises'
interface Account { balance: number, owner?: string }
enum Kind { debit = 1, credit }
export class Bank {
  constructor (private readonly accounts: Map<string, Account>, private total: number = 0) {}
  async deposit (name: string, amount: number): Promise<number> {
    const account: Account | undefined = this.accounts.get(name)
    const { balance }: Account = (account as Account | undefined) ?? { balance: 0 } satisfies Account
    await turn()
    this.accounts.set(name as string, { balance: balance + amount, owner: Kind[Kind.credit] } as Account)
    this.total += amount
    return this.total
  }
  fail (): void { const before: number = this.total; if (before >= (0 as number)) { this.total = (this.total as number) + 1; throw new Error('planned') } }
}
`
const APP = `import Fastify from 'fastify'
import { Bank } from './service.js'
const bank = new Bank(new Map())
const app = Fastify()
app.get('/', async (): Promise<{ total: number }> => ({ total: await bank.deposit('ada' as string, 5) }))
app.get('/fail', async (_request, reply) => {
  try { bank.fail() } catch (error) { return reply.send({ stack: (error as Error).stack }) }
})
async function main (): Promise<void> {
  if (process.env['MAPS'] !== undefined) process.setSourceMapsEnabled(process.env['MAPS'] === '1')
  await Promise.all([app.inject('/'), app.inject('/')])
  const { stack } = (await app.inject('/fail')).json() as { stack: string }
  console.log(stack.split('\\n').slice(0, 2).join('\\n'))
  await app.close()
}
void main()
`

// What tsc makes of a file doesn't depend on the declarations of others, which are most of what it would read.
const ALONE = { types: [], lib: ['es5'], noResolve: true, isolatedModules: true }

/** A project, compiled by tsc. */
async function project (t: Test, module: 'nodenext' | 'commonjs', options: object): Promise<string> {
  const folder = t.testdir({
    'package.json': JSON.stringify({ type: module === 'commonjs' ? 'commonjs' : 'module' }),
    'tsconfig.json': JSON.stringify({ compilerOptions: { module: 'nodenext', moduleResolution: 'nodenext', target: 'es2022', rootDir: 'src', outDir: 'dist', noCheck: true, ...ALONE, ...options }, include: ['src'] }),
    src: { 'service.ts': SERVICE, 'app.ts': APP }
  })
  await promisify(execFile)(process.execPath, [resolve('typescript/lib/tsc.js'), '-p', folder])
  return folder
}

interface Run { code: number, stdout: string, stderr: string }

async function run (folder: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<Run> {
  return new Promise((resolve) => {
    execFile(process.execPath, [...execArgv, ...args, join(folder, 'dist/app.js')], { env: { ...process.env, NODE_OPTIONS: '', ...env } }, (error, stdout, stderr) => resolve({ code: Number(error?.code ?? 0), stdout, stderr }))
  })
}

const lines = SERVICE.split('\n')
const lineOf = (text: string): number => lines.findIndex((line) => line.includes(text)) + 1
/** A place in the TypeScript, as `src/service.ts:7:52`. */
const placeOf = (line: string, at: string): string => `src/service\\.ts:${lineOf(line)}:${(lines[lineOf(line) - 1] ?? '').indexOf(at) + 1}`

const reported = new RegExp([
  'WARNING: RACE lost update on .*get\\("ada"\\)',
  `  written by .*/${placeOf('this.accounts.set', 'set(')} .*`,
  `  after a read .*/${placeOf('this.accounts.get', 'get(')} .*`
].join('\n'))

const supports: Record<string, { args?: string[], env?: NodeJS.ProcessEnv }> = {
  // The preload of these tests has switched them on.
  'no source maps': { env: { MAPS: '0' } },
  '--enable-source-maps': { args: ['--enable-source-maps'] },
  'process.setSourceMapsEnabled()': { env: { MAPS: '1' } },
  'source-map-support': { args: ['--require', resolve('@cspotcode/source-map-support/register')] }
}

for (const [kind, module, options, ways] of [
  ['external', 'nodenext', { sourceMap: true }, Object.keys(supports)],
  ['inline', 'nodenext', { inlineSourceMap: true }, ['--enable-source-maps']],
  ['external, with sourceRoot', 'commonjs', { sourceMap: true, sourceRoot: '../src' }, ['--enable-source-maps', 'source-map-support']]
] as const) {
  t.test(`a map of tsc, ${kind}, ${module}: the race is confirmed and has its place in the TypeScript, however stacks are mapped`, async (t) => {
    const folder = await project(t, module, options)
    for (const way of ways) {
      const { args = [], env = {} } = supports[way] ?? {}
      const { code, stderr } = await run(folder, [...args, ...register], { RACE: '1', ...env })
      t.equal(code, 66, way)
      t.match(stderr, reported, way)
      t.notMatch(stderr, /\(possible\)|can't parse|dist\/service/, way)
    }
  })
}

t.test('an error has the stack that it has without the preload', async (t) => {
  const folder = await project(t, 'nodenext', { sourceMap: true })
  for (const name of ['--enable-source-maps', 'process.setSourceMapsEnabled()']) {
    const { args = [], env = {} } = supports[name] ?? {}
    const plain = await run(folder, args, env)
    t.match(plain.stdout, new RegExp(placeOf('throw new Error', 'new Error')), name)
    t.equal((await run(folder, [...args, ...register], { RACE: '1', ...env })).stdout, plain.stdout, name)
  }
})

t.test('a map that is not there, or is none, hides no race', async (t) => {
  const folder = await project(t, 'nodenext', { sourceMap: true })
  for (const spoil of [() => rmSync(join(folder, 'dist/service.js.map')), () => rmSync(join(folder, 'src'), { recursive: true })]) {
    spoil()
    for (const args of [[], ['--enable-source-maps']]) t.match(await run(folder, [...args, ...register], { RACE: '1' }), { code: 66, stderr: /RACE lost update on .*\.get\("ada"\)/ })
  }
})
