// What a report says, where it goes, and what it does to the process.
import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import locks from '../../plugins/locks/index.ts'
import race, { hammer, shared } from '../src/index.ts'
import { detector } from '../src/detector.ts'
import tasks from '../../plugins/tasks/index.ts'
import { execArgv, rejection } from '../../test/helper.ts'
import { confirmed, racesOf, turn } from './helper.ts'

const racy = fileURLToPath(new URL('fixtures/racy.ts', import.meta.url))

interface Run { code: number, stderr: string }

async function run (file: string, env: NodeJS.ProcessEnv): Promise<Run> {
  return new Promise((resolve) => {
    execFile(process.execPath, [...execArgv, file], { env: { ...process.env, ...env } }, (error, _stdout, stderr) => resolve({ code: Number(error?.code ?? 0), stderr }))
  })
}

t.test('a report names the state, both sides with their places in the TypeScript source, and a fix', async (t) => {
  const [report] = await racesOf((app) => {
    const sessions = shared(new Map<string, number>(), 'sessions')
    app.get('/a', async () => {
      const visits = sessions.get('sid') ?? 0
      await turn()
      sessions.set('sid', visits + 1)
    })
  }, ['/a', '/a'])
  const lines = readFileSync(fileURLToPath(import.meta.url), 'utf8').split('\n')
  const lineOf = (text: string): number => lines.findIndex((line) => line.includes(text)) + 1
  const [read, write] = [lineOf('sessions.get(\'sid\')'), lineOf('sessions.set(\'sid\'')]
  t.match(report?.text.split('\n'), [
    'WARNING: RACE lost update on sessions.get("sid")',
    new RegExp(`^  written by   request req-\\w+ GET /a  .*reports\\.test\\.ts:${write}:\\d+   \\(no lock held\\)`),
    new RegExp(`^  after a read request req-\\w+ GET /a  .*reports\\.test\\.ts:${read}:\\d+   \\(stale\\)`),
    new RegExp(`^  overwrote    request req-\\w+ GET /a  .*reports\\.test\\.ts:${write}:\\d+   \\(version 1, no lock held\\)`),
    // eslint-disable-next-line no-template-curly-in-string -- the report shows source
    '  fix: change it in one expression after the last await (`+=`, `++`), or hold app.locks.mutex(`sessions:${key}`) of fastify-concurrency/locks from the read to the write'
  ])
})

t.test('a report names the locks that were held', async (t) => {
  const [report] = await racesOf(async (app) => {
    await app.register(locks)
    const state = shared({ sum: 0 }, 'state')
    app.get('/', async (request) => app.locks.mutex(`not the same: ${request.id}`).runExclusive(async () => {
      const { sum } = state
      await turn()
      state.sum = sum + 1
    }))
  })
  t.match(report?.text, /overwrote .*held mutex\("not the same: req-\w+"\)/)
})

t.test('a background task is a context of its own', async (t) => {
  const reports = await racesOf(async (app) => {
    await app.register(tasks)
    const state = shared({ sum: 0 }, 'state')
    app.get('/', async () => {
      const { sum } = state
      using place = app.tasks.reserve()
      const task = place.submit('add', async () => { state.sum++ })
      await task.done
      state.sum = sum + 1
    })
  }, ['/'])
  t.match(reports.map(({ text }) => text), [/lost update on state\.sum[^]*overwrote {4}task add/])
})

t.test('with fail, close() of the app in which it was found rejects with the reports', async (t) => {
  for (const [fail, Isolated] of [[true, false], [false, false], [true, true]] as const) {
    const app = Fastify() as unknown as FastifyInstance
    const other = Fastify() as unknown as FastifyInstance
    const unsilence = detector.reports.silence()
    await app.register(race, { fail })
    await other.register(race, { fail: true })
    const state = shared({ sum: 0 }, 'state')
    const racing = Isolated ? other : app
    racing.get('/', async () => {
      const { sum } = state
      await turn()
      state.sum = sum + 1
    })
    const responses = await hammer(racing, '/', { times: 20, concurrency: 4 })
    t.equal(responses.length, 20)
    if (fail && !Isolated) {
      const { code, message } = await rejection(app.close())
      t.equal(code, 'FC_ERR_RACE')
      t.equal(message.match(/lost update on state\.sum/g)?.length, 1, 'once, however often it happened')
    } else await app.close()
    if (Isolated) await t.rejects(other.close(), { code: 'FC_ERR_RACE' })
    else await other.close()
    unsilence()
  }
})

t.test('a source that can\'t be parsed or isn\'t there makes a race possible, not confirmed', async (t) => {
  const file = join(t.testdir(), 'broken.mjs')
  writeFileSync(file, 'export const read = (map) => map.get("a")\nexport const write = (map, value) => map.set("a", value)\n')
  const { read, write } = await import(file) as { read: (map: Map<string, number>) => number, write: (map: Map<string, number>, value: number) => void }
  writeFileSync(file, 'this is ( no JavaScript')
  const reports = await racesOf((app) => {
    const map = shared(new Map<string, number>(), 'map')
    app.addHook('onRequest', async (request) => { request.headers['x-count'] = String(read(map) ?? 0) })
    app.get('/', async (request) => { write(map, Number(request.headers['x-count']) + 1) })
  })
  t.strictSame(confirmed(reports), [])
  t.match(reports.map(({ text }) => text), [/RACE \(possible\) stale write on map\.get\("a"\)[^]*\n {2}possible {5}the source doesn't tell [^\n]* fails no run\n/])
})

t.test('with RACE=1 a process that saw a race exits with 66, and without it nothing is tracked', async (t) => {
  const { code, stderr } = await run(racy, { RACE: '1' })
  t.equal(code, 66)
  t.equal(stderr.match(/WARNING: RACE lost update on state\.sum/g)?.length, 1, 'a pair of places is reported once')
  t.match(stderr, /RACE: found 1 race\n/)
  t.match(await run(racy, { RACE: '' }), { code: 0, stderr: '' })
})

t.test('RACE_LOG sends reports to a file', async (t) => {
  const log = join(t.testdir(), 'race.log')
  const { code, stderr } = await run(racy, { RACE: '1', RACE_LOG: log })
  t.equal(code, 66)
  t.match(stderr, /^RACE: found 1 race, see .*race\.log\n$/)
  t.match(readFileSync(log, 'utf8'), /WARNING: RACE lost update/)
})

t.test('RACE_HALT ends the process at the first race, before the code that made it goes on', async (t) => {
  const file = join(t.testdir(), 'halt.mjs')
  writeFileSync(file, `
    import { setImmediate as turn } from 'node:timers/promises'
    import Fastify from 'fastify'
    import { shared } from 'fastify-concurrency-race'
    const app = Fastify()
    const state = shared({ a: 0, b: 0 }, 'state')
    app.get('/', async () => {
      const { a, b } = state
      await turn()
      state.a = a + 1
      state.b = b + 1
    })
    await Promise.all([app.inject('/'), app.inject('/')])
    process.stderr.write('went on\\n')
  `)
  for (const [halt, races] of [['1', 1], ['', 2], ['0', 2]] as const) {
    const { code, stderr } = await run(file, { RACE: '1', RACE_HALT: halt })
    t.equal(code, 66)
    t.equal(stderr.match(/WARNING: RACE/g)?.length, races)
    t.equal(stderr.includes('went on'), halt !== '1')
  }
})

t.test('with RACE=1 a race that explore() found is not forgiven because its error is caught', async (t) => {
  const explored = fileURLToPath(new URL('fixtures/explored.ts', import.meta.url))
  t.match(await run(explored, { RACE: '1' }), { code: 66, stderr: /RACE: found 1 race\n/ })
  t.match(await run(explored, { RACE: '' }), { code: 0 })
})

t.test('in production the plugin does nothing, unless RACE=1 asks for it', async (t) => {
  t.match(await run(racy, { RACE: '', NODE_ENV: 'production' }), { code: 0, stderr: '' })
  t.match(await run(racy, { RACE: '1', NODE_ENV: 'production' }), { code: 66 })
})

t.test('what is invalid is refused by name', async (t) => {
  for (const options of [{ fail: 1 }, { maxLocations: 0 }, { faill: true }]) {
    const app = Fastify() as unknown as FastifyInstance
    await t.rejects(async () => app.register(race, options as never), { code: 'FC_ERR_OPTION_INVALID', message: new RegExp(`race\\.${Object.keys(options)[0]}`) })
  }
  const app = Fastify() as unknown as FastifyInstance
  for (const options of [{ times: 0 }, { concurrency: 0.5 }, { time: 1 }]) await t.rejects(hammer(app, '/', options as never), { code: 'FC_ERR_OPTION_INVALID' })
  await app.close()
})
