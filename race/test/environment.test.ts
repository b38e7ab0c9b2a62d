// The detector's front door: what the environment asks for, and that a run that can find nothing says so.
import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import race, { explore, hammer } from '../src/index.ts'
import { detector } from '../src/detector.ts'
import { execArgv } from '../../test/helper.ts'

const path = (file: string): string => fileURLToPath(new URL(file, import.meta.url))
const register = ['--import', path('../src/register/index.ts')]
const parser = ['--require', path('fixtures/parser.cjs')]
const racy = path('fixtures/racy.ts')

interface Run { code: number | string, stderr: string, stdout: string }

async function run (args: readonly string[], env: NodeJS.ProcessEnv, cwd?: string): Promise<Run> {
  return new Promise((resolve) => {
    execFile(process.execPath, [...execArgv, ...args], { cwd, env: { ...process.env, NODE_OPTIONS: '', ...env } }, (error, stdout, stderr) => {
      resolve({ code: error?.code ?? error?.signal ?? 0, stderr, stdout })
    })
  })
}

/** A folder with programs, below the root, so that they find the package by its name. */
const programs = (t: Test): string => t.testdir({
  // Knows nothing of the detector.
  'plain.js': `
    import { setImmediate as turn } from 'node:timers/promises'
    import Fastify from 'fastify'
    let sum = 0
    const app = Fastify()
    app.get('/', async () => { const before = sum; await turn(); sum = before + 1 })
    await Promise.all([app.inject('/'), app.inject('/')])
    await app.close()`,
  // Marks its state, and registers nothing.
  'marked.js': `
    import { setImmediate as turn } from 'node:timers/promises'
    import Fastify from 'fastify'
    import { hammer, shared } from 'fastify-concurrency-race'
    const app = Fastify()
    const state = shared({ sum: 0 }, 'state')
    app.get('/', async () => { const { sum } = state; await turn(); state.sum = sum + 1 })
    await hammer(app, '/', { times: 4 })
    await app.close().catch(({ code }) => { console.log(code) })`,
  // Its state is changed by a package whose source map names a source that isn't published.
  'package.js': `
    import { setImmediate as turn } from 'node:timers/promises'
    import Fastify from 'fastify'
    import { shared } from 'fastify-concurrency-race'
    import { read, write } from 'sums'
    const app = Fastify()
    const state = shared({ sum: 0 }, 'state')
    app.get('/', async () => { const sum = read(state); await turn(); write(state, sum + 1) })
    await Promise.all([app.inject('/'), app.inject('/')])
    await app.close()`,
  node_modules: {
    sums: {
      'package.json': '{ "name": "sums", "type": "module", "exports": "./index.js" }',
      'index.js': 'export const read = (state) => state.sum\nexport const write = (state, sum) => { state.sum = sum }\n//# sourceMappingURL=index.js.map\n',
      'index.js.map': JSON.stringify({ version: 3, file: 'index.js', sources: ['src/index.ts'], names: [], mappings: 'AAAA;AACA' })
    }
  }
})

const started = { code: 1, stderr: /FC_ERR_RACE_UNREADABLE.*|.*can't read your modules/ }

t.test('without a parser nothing starts that would find nothing, and the error has the command that mends it', async (t) => {
  const plain = join(programs(t), 'plain.js')
  for (const [given, command] of [['7.0.2', /TypeScript 5 or 6, which 7\.0\.2 doesn't have\. Run: npm install --save-dev @ts-morph\/common/], ['', /TypeScript 5 or 6, and found none\. Run: npm install --save-dev typescript@6/]] as const) {
    for (const args of [[...parser, ...register, plain], [...parser, racy]]) {
      const { code, stderr } = await run(args, { RACE: '1', FC_TEST_PARSER: given })
      t.match({ code, stderr }, started)
      t.match(stderr, command)
      t.match(await run(args, { FC_TEST_PARSER: given, NODE_ENV: 'production' }), { code: 0, stderr: '' }, 'nobody asked for detection')
    }
  }
})

t.test('a project that builds with TypeScript 7 has another package that parses', async (t) => {
  const plain = join(programs(t), 'plain.js')
  t.match(await run([...parser, ...register, plain], { RACE: '1', FC_TEST_PARSER: '@ts-morph/common' }), { code: 66, stderr: /WARNING: RACE lost update on sum\n/ })
})

t.test('RACE is 1 or true; another value is said to mean nothing', async (t) => {
  const folder = programs(t)
  for (const RACE of ['1', 'true', 'TRUE']) t.match(await run([...register, join(folder, 'plain.js')], { RACE }), { code: 66, stderr: /RACE: found 1 race\n$/ })
  for (const RACE of ['', '0', 'false']) t.match(await run([...register, join(folder, 'plain.js')], { RACE }), { code: 0, stderr: '' })
  const { code, stderr } = await run([...register, join(folder, 'marked.js')], { RACE: 'yes' })
  t.equal(code, 0)
  t.equal(stderr.match(/RACE=yes means nothing to the race detector, which is off: set RACE=1/g)?.length, 1)
})

t.test('with RACE=1 shared() needs no register()', async (t) => {
  t.match(await run([join(programs(t), 'marked.js')], { RACE: '1' }), { code: 66, stderr: /WARNING: RACE lost update on state\.sum\n/ })
})

t.test('RACE_LOG: the file says which process wrote, standard error says where to look', async (t) => {
  const folder = programs(t)
  const { code, stderr } = await run([...register, 'plain.js'], { RACE: '1', RACE_LOG: 'race.log' }, folder)
  t.equal(code, 66)
  t.equal(stderr, 'RACE: found 1 race, see race.log\n')
  t.match(readFileSync(join(folder, 'race.log'), 'utf8'), /^RACE: process \d+, .*plain\.js\nWARNING: RACE lost update on sum\n[^]*RACE: found 1 race\n$/)
})

t.test('a RACE_LOG that can\'t be written is an error at the start', async (t) => {
  const folder = programs(t)
  for (const args of [[...register, join(folder, 'plain.js')], [racy]]) {
    const { code, stderr } = await run(args, { RACE: '1', RACE_LOG: join(folder, 'none/race.log') })
    t.equal(code, 1)
    t.match(stderr, /FC_ERR_OPTION_INVALID/)
    t.match(stderr, /Option "RACE_LOG": expected a file that can be written \(Error: ENOENT.*none\/race\.log/)
  }
  t.notOk(existsSync(join(folder, 'none')))
})

t.test('nothing is said of files of packages, which nobody can mend', async (t) => {
  const { stderr } = await run(['--enable-source-maps', join(programs(t), 'package.js')], { RACE: '1' })
  t.match(stderr, /WARNING: RACE .*on state\.sum/)
  t.notMatch(stderr, /can't parse/)
})

t.test('a preload that has read no module says so', async (t) => {
  const script = "import('fastify').then(({ default: Fastify }) => Fastify().ready())"
  t.match(await run([...register, '--eval', script], { RACE: '1' }), { code: 0, stderr: /Warning: The race detector can't read your modules, and would find nothing: no module was loaded by import or require/ })
  t.match(await run([...register, join(programs(t), 'marked.js')], { RACE: '1' }), { code: 66, stderr: /^(?![^]*can't read)/ })
})

t.test('under vitest and jest, which look at no exit code, ready() rejects if nothing is read, and close() if requests raced', async (t) => {
  const folder = programs(t)
  for (const env of [{ VITEST: 'true' }, { JEST_WORKER_ID: '1' }]) {
    t.match(await run([...register, join(folder, 'plain.js')], { RACE: '1', ...env }), { code: 1, stderr: /FC_ERR_RACE_UNREADABLE/ })
    t.match(await run([join(folder, 'marked.js')], { RACE: '1', ...env }), { stdout: 'FC_ERR_RACE\n' })
    t.match(await run([join(folder, 'marked.js')], env), { code: 0, stdout: '', stderr: '' })
  }
})

/** The warnings of this process while a function runs. */
async function warningsOf (fn: () => Promise<unknown>): Promise<string[]> {
  const warnings: string[] = []
  const listener = ({ message }: Error): void => { warnings.push(message) }
  process.on('warning', listener)
  await fn()
  await new Promise((resolve) => setImmediate(resolve))
  process.off('warning', listener)
  return warnings
}

function build (): FastifyInstance {
  const app = Fastify() as unknown as FastifyInstance
  app.get('/', async () => 'ok')
  return app
}

t.test('requests that all fail test nothing', async (t) => {
  const app = build()
  t.teardown(() => app.close())
  t.match(await warningsOf(async () => hammer(app, '/typo', { times: 3 })), ['hammer(): every request failed, with the status 404, so little was tested'])
  t.match(await warningsOf(async () => explore(build, { requests: ['/typo', '/typo'], seeds: 2 })), ['explore(): every request failed, with the status 404, so little was tested'])
  t.strictSame(await warningsOf(async () => hammer(app, (index) => index === 0 ? '/' : '/typo', { times: 3 })), [])
  t.strictSame(await warningsOf(async () => explore(build, { requests: ['/', '/typo'], seeds: 2 })), [])
})

t.test('an app that is not watched while detection is on is warned of', async (t) => {
  t.teardown(detector.use())
  const app = build()
  const watched = build()
  t.teardown(() => app.close())
  t.teardown(() => watched.close())
  await watched.register(race)
  t.match(await warningsOf(async () => hammer(app, '/', { times: 1 })), [/hammer\(\): no race can be found in this app/])
  t.strictSame(await warningsOf(async () => hammer(watched, '/', { times: 1 })), [])
})

t.test('arguments in the wrong place are refused by name', async (t) => {
  const app = build()
  t.teardown(() => app.close())
  const requests = ['/']
  const cases: Array<[wrong: () => Promise<unknown>, message: RegExp]> = [
    [async () => hammer('http://localhost:3000/' as never, '/'), /"hammer: app": expected a Fastify instance, received 'http/],
    [async () => hammer(app, undefined as never), /"hammer: request": expected a path, .* received undefined/],
    [async () => explore((() => { build() }) as never, { requests }), /"explore: what build returns": expected a Fastify instance, received undefined/],
    [async () => explore(app as never, { requests }), /"explore: build": expected a function/],
    [async () => explore((async () => 'app') as never, { requests }), /expected a Fastify instance, received 'app'/]
  ]
  for (const [wrong, message] of cases) await t.rejects(wrong, { code: 'FC_ERR_OPTION_INVALID', message })
})

/** An application with a race on a Map that it marks, and what it does besides. */
const marking = (t: Test, options: string, besides = ''): string => join(t.testdir({
  'app.mjs': `
    import { setImmediate as turn } from 'node:timers/promises'
    import Fastify from 'fastify'
    import { shared } from 'fastify-concurrency-race'
    ${besides}
    const sums = shared(new Map(), 'sums', ${options})
    const app = Fastify()
    app.get('/', async () => { const sum = sums.get('a') ?? 0; await turn(); sums.set('a', sum + 1) })
    await Promise.all([app.inject('/'), app.inject('/')])
    await app.close()`
}), 'app.mjs')

t.test('with the preload too, shared() names a Map and says that its last writer may win', async (t) => {
  t.match(await run([...register, marking(t, '{}')], { RACE: '1' }), { code: 66, stderr: /RACE lost update on sums\.get\("a"\)/ })
  t.match(await run([...register, marking(t, '{ lww: true }')], { RACE: '1' }), { code: 0, stderr: '' })
})

t.test('an exit listener that calls process.exit(0) hides no race', async (t) => {
  t.match(await run([marking(t, '{}', 'process.on("exit", () => process.exit(0)); process.on("exit", () => process.exit(0))')], { RACE: '1' }), { code: 66 })
  t.match(await run([marking(t, '{}', 'setImmediate(() => process.on("exit", () => process.exit(3)))')], { RACE: '1' }), { code: 3 })
})
