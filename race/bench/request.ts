/**
 * What the detector costs, in CPU µs of a whole request by inject().
 *
 * - `off` against `absent`: an app with the plugin registered in production, whose state went through shared(), against one that knows nothing of
 *   it. Blocks of requests alternate in one process, so that the machine's moods meet both; the difference has a 95 % confidence interval.
 * - `on` against `absent`, with 0, 4 and 24 accesses of shared state a request, one request after the other and eight at a time: each in a process of
 *   its own, the median of five. The heap is what is in use after a full collection.
 *
 * Run it with `node --expose-gc --conditions=fastify-concurrency-source --import ./loader/typescript.js race/bench/request.ts`.
 */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import Fastify, { type FastifyInstance } from 'fastify'
import race, { shared } from '../src/index.ts'

const REQUESTS = 20_000
const BLOCK = 500
const BLOCKS = 80

function withRoutes (app: FastifyInstance, state: Map<string, number>, accesses: number): void {
  app.get('/', async () => {
    for (let access = 0; access < accesses; access += 2) {
      const key = `k${access}`
      state.set(key, (state.get(key) ?? 0) + 1)
    }
    return 'ok'
  })
}

async function build (mode: string, accesses: number): Promise<FastifyInstance> {
  const app = Fastify() as unknown as FastifyInstance
  if (mode === 'off') process.env['NODE_ENV'] = 'production'
  if (mode !== 'absent') await app.register(race)
  withRoutes(app, mode === 'absent' ? new Map() : shared(new Map(), 'state'), accesses)
  return app
}

/** CPU µs a request. */
async function block (app: FastifyInstance, requests: number, concurrency = 1): Promise<number> {
  const before = process.cpuUsage()
  for (let sent = 0; sent < requests; sent += concurrency) await Promise.all(Array.from({ length: concurrency }, () => app.inject('/')))
  const { user, system } = process.cpuUsage(before)
  return (user + system) / requests
}

/** The mean of the differences off − absent, and half the width of its 95 % confidence interval. */
async function compareOff (accesses: number): Promise<void> {
  const [off, absent] = [await build('off', accesses), await build('absent', accesses)]
  for (const app of [off, absent, off, absent]) await block(app, 2_000)
  const differences: number[] = []
  let sum = 0
  for (let pair = 0; pair < BLOCKS; pair++) {
    const apps = pair % 2 === 0 ? [off, absent] : [absent, off]
    const [first, second] = [await block(apps[0] as FastifyInstance, BLOCK), await block(apps[1] as FastifyInstance, BLOCK)]
    differences.push(pair % 2 === 0 ? first - second : second - first)
    sum += pair % 2 === 0 ? second : first
  }
  const mean = differences.reduce((total, each) => total + each, 0) / BLOCKS
  const deviation = Math.sqrt(differences.reduce((total, each) => total + (each - mean) ** 2, 0) / (BLOCKS - 1))
  console.log(`${accesses} accesses, off − absent: ${mean.toFixed(2)} ± ${(1.99 * deviation / Math.sqrt(BLOCKS)).toFixed(2)} µs CPU a request (absent: ${(sum / BLOCKS).toFixed(1)})`)
}

const [mode, accesses = '4', concurrency = '1'] = process.argv.slice(2)
if (mode === 'pairs') {
  await compareOff(Number(accesses))
} else if (mode !== undefined) {
  const app = await build(mode, Number(accesses))
  await block(app, REQUESTS / 4, Number(concurrency))
  const us = await block(app, REQUESTS, Number(concurrency))
  // What a turn still holds is let go of after it.
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
  globalThis.gc?.()
  console.log(JSON.stringify({ us, mb: process.memoryUsage().heapUsed / 2 ** 20 }))
} else {
  const self = fileURLToPath(import.meta.url)
  const run = (...args: string[]): string => execFileSync(process.execPath, [...process.execArgv, self, ...args], { encoding: 'utf8' })
  const median = (values: number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN
  for (const accesses of ['0', '4', '24']) process.stdout.write(run('pairs', accesses))
  for (const concurrency of ['1', '8']) {
    for (const accesses of ['4', '24']) {
      const all: Record<string, Array<{ us: number, mb: number }>> = { absent: [], on: [] }
      for (let round = 0; round < 5; round++) {
        for (const [mode, list] of Object.entries(all)) list.push(JSON.parse(run(mode, accesses, concurrency)) as { us: number, mb: number })
      }
      const [absent, on] = Object.values(all).map((list) => ({ us: median(list.map(({ us }) => us)), mb: median(list.map(({ mb }) => mb)) })) as [{ us: number, mb: number }, { us: number, mb: number }]
      console.log(`${accesses} accesses, ${concurrency} at a time: absent ${absent.us.toFixed(1)} µs, ${absent.mb.toFixed(0)} MB; on ${on.us.toFixed(1)} µs, ${on.mb.toFixed(0)} MB: ${(on.us / absent.us).toFixed(1)} times the CPU time, ${(on.mb / absent.mb).toFixed(1)} times the heap`)
    }
  }
}
