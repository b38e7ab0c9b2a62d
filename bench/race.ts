// What the detector costs: CPU µs a request with 0, 4 and 24 accesses of shared state, off, on, and in an app without it. In pairs, in one process each.
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import Fastify from 'fastify'
import race, { shared } from '../plugins/race/index.ts'

const REQUESTS = 20_000
const [mode, accesses = '4'] = process.argv.slice(2)

/** CPU µs a request. */
async function measure (mode: string, accesses: number): Promise<number> {
  const app = Fastify()
  if (mode === 'on') await app.register(race)
  const state = mode === 'absent' ? new Map<string, number>() : shared(new Map<string, number>(), 'state')
  app.get('/', async () => {
    for (let access = 0; access < accesses; access += 2) {
      const key = `k${access}`
      state.set(key, (state.get(key) ?? 0) + 1)
    }
    return 'ok'
  })
  await app.ready()
  for (let request = 0; request < REQUESTS / 4; request++) await app.inject('/')
  const before = process.cpuUsage()
  for (let request = 0; request < REQUESTS; request++) await app.inject('/')
  const { user, system } = process.cpuUsage(before)
  await app.close()
  return (user + system) / REQUESTS
}

if (mode !== undefined) {
  console.log(JSON.stringify({ us: await measure(mode, Number(accesses)), mb: process.memoryUsage().heapUsed / 2 ** 20 }))
} else {
  const self = fileURLToPath(import.meta.url)
  const median = (values: number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN
  for (const accesses of [4, 24]) {
    const results: Record<string, Array<{ us: number, mb: number }>> = { absent: [], off: [], on: [] }
    for (let round = 0; round < 5; round++) {
      for (const [mode, list] of Object.entries(results)) list.push(JSON.parse(execFileSync(process.execPath, [...process.execArgv, self, mode, String(accesses)], { encoding: 'utf8' })) as never)
    }
    for (const [mode, list] of Object.entries(results)) {
      const times = list.map(({ us }) => us)
      console.log(`${accesses} accesses, ${mode}: ${median(times).toFixed(1)} µs CPU (${Math.min(...times).toFixed(1)} to ${Math.max(...times).toFixed(1)}), heap ${median(list.map(({ mb }) => mb)).toFixed(0)} MB`)
    }
  }
}
