// Measures what limiting costs: requests a second and CPU time per request, paired in one run; operations of the memory store; Redis.
// node --conditions=fastify-concurrency-source --expose-gc --import ./loader/typescript.js bench/limiter.ts [--rounds 5] [--ms 400] [--save]
// `--only Redis` measures only the pairs whose names contain the text, which takes seconds.
// The table visits all servers in turn. The ratios that have a bar are measured apart, two servers by turns (ABBA), because the table takes minutes
// in which the machine changes.
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { Redis } from 'ioredis'
import { MemoryStore } from '../plugins/limiter/stores/memory-store.ts'
import { variants } from './limiter-server.ts'
import { startRedis } from './lib/redis.mjs'
import { median, Report } from './lib/report.mjs'

const report = new Report('limiter', { rounds: '5', ms: '400', only: '' })
const rounds = report.number('rounds')
const length = report.number('ms')
const SOCKETS = 32
/** ms of load before a measurement, in which a server's code is compiled. */
const WARM_UP = 2_500
/** The turns of each server of a pair, and the length of a turn in ms. */
const TURNS = 24
const TURN = 150
const PAIRS = [
  ...['@fastify/rate-limit', 'rate-limiter-flexible', 'ours, 1 policy', 'ours, 3 policies'].map((limiter) => [limiter, 'bare'] as const),
  ['ours, 1 policy', '@fastify/rate-limit'],
  ['refused: ours, logger on', 'ours, 1 policy, logger on'],
  ['refused: @fastify/rate-limit, logger on', '@fastify/rate-limit, logger on'],
  ['refused: rate-limiter-flexible, logger on', 'rate-limiter-flexible, logger on'],
  ['ambient: ours, 1 policy', 'ambient: bare'],
  ['Redis: ours, 1 policy', 'Redis: @fastify/rate-limit, 1 limit']
] as const
const only = report.args['only'] ?? ''
const pairs = PAIRS.filter((pair) => pair.join(' ÷ ').includes(only))
const REQUEST = 'GET / HTTP/1.1\r\nHost: bench\r\n\r\n'

/** Keeps one request in flight on each socket for the given time, in ms. Resolves with the number of answers, which are only counted. */
async function load (port: number, ms: number): Promise<number> {
  let answered = 0
  let stopped = false
  const sockets: Socket[] = []
  for (let i = 0; i < SOCKETS; i++) {
    const socket = connect(port, '127.0.0.1')
    socket.on('data', () => {
      answered++
      if (!stopped) socket.write(REQUEST)
    })
    socket.write(REQUEST)
    sockets.push(socket)
  }
  await new Promise((resolve) => setTimeout(resolve, ms))
  stopped = true
  for (const socket of sockets) socket.destroy()
  return answered
}

async function http (): Promise<void> {
  const { path, stop } = await startRedis()
  const redis = new Redis(path, { retryStrategy: () => 5, maxRetriesPerRequest: null })
  redis.on('error', () => {})
  const children = new Map<string, ChildProcess>()
  try {
    const ports: Record<string, number> = {}
    for (const name of only === '' ? variants : new Set(pairs.flat())) {
      const child = fork(new URL('limiter-server.ts', import.meta.url), [name, path])
      children.set(name, child)
      ports[name] = (await once(child, 'message') as [{ port: number }])[0].port
    }
    const cpu = async (name: string): Promise<number> => {
      const child = children.get(name)!
      const answer = once(child, 'message')
      child.send('cpu')
      const [{ user, system }] = await answer as [{ user: number, system: number }]
      return user + system
    }
    const commands = async (): Promise<number> => Number(/cmdstat_evalsha:calls=(\d+)/.exec(await redis.info('commandstats'))?.[1] ?? 0)
    for (const port of Object.values(ports)) await load(port, WARM_UP)
    const inTurn = async (): Promise<void> => {
      const figures = Object.fromEntries(Object.keys(ports).map((name) => [name, { persec: [] as number[], micros: [] as number[], commands: [] as number[] }]))
      for (let round = 0; round < rounds; round++) {
        for (const [name, port] of Object.entries(ports)) {
          const [cpuBefore, commandsBefore] = [await cpu(name), await commands()]
          const answered = await load(port, length)
          const figure = figures[name]!
          figure.persec.push(answered * 1000 / length)
          figure.micros.push((await cpu(name) - cpuBefore) / answered)
          figure.commands.push((await commands() - commandsBefore) / answered)
        }
      }
      report.table(`Servers in turn, ${rounds} rounds of ${length} ms`, Object.entries(figures).map(([server, { persec, micros, commands }]) => ({
        server,
        'req/s': Math.round(median(persec)),
        'CPU µs a request': median(micros),
        'round trips a request': server.startsWith('Redis') ? median(commands) : ''
      })))
    }
    const pair = async (a: string, b: string): Promise<Record<string, unknown>> => {
      const ratios: number[] = []
      const spent: Record<string, number> = { [a]: 0, [b]: 0 }
      const answers: Record<string, number> = { [a]: 0, [b]: 0 }
      const turn = async (name: string): Promise<number> => {
        const before = await cpu(name)
        const answered = await load(ports[name]!, TURN)
        spent[name]! += await cpu(name) - before
        answers[name]! += answered
        return answered
      }
      for (let turns = 0; turns < TURNS; turns += 2) {
        const [a1, b1, b2, a2] = [await turn(a), await turn(b), await turn(b), await turn(a)]
        ratios.push((a1 + a2) / (b1 + b2))
      }
      const micros = (name: string): string => (spent[name]! / answers[name]!).toFixed(1)
      return { pair: `${a} ÷ ${b}`, 'req/s': median(ratios), 'CPU µs a request': `${micros(a)} and ${micros(b)}` }
    }

    if (only === '') await inTurn()
    const rows: Array<Record<string, unknown>> = []
    for (const [a, b] of pairs) rows.push(await pair(a, b))
    report.table(`Two servers by turns (ABBA), medians of ${TURNS / 2}`, rows)
  } finally {
    for (const child of children.values()) child.kill()
    redis.disconnect()
    await stop()
  }
}

/** Builds a key for each operation, as a request does, because a map then has to hash and compare it. */
function memory (keys: number): Record<string, unknown> {
  const key = (index: number): string => `2001:db8:${index.toString(16)}::`
  const demand = (index: number) => [{ policy: 'p', key: key(index), rate: 0.01, burst: 20, cost: 1, onStoreError: 'local' as const }]
  const clock = { time: 0, now () { return this.time } }
  const operations = Math.max(keys, 500_000)
  const order = Int32Array.from({ length: operations }, () => Math.floor(Math.random() * keys))

  const used = (): number => {
    globalThis.gc?.()
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    return heapUsed + arrayBuffers
  }
  const before = used()
  const store = new MemoryStore(clock, keys)
  for (let i = 0; i < keys; i++) { clock.time += 0.001; store.take(demand(i), 0) }
  const bytes = (used() - before) / keys
  const map = new Map<string, number>()
  for (let i = 0; i < keys; i++) map.set(key(i), 0)

  const nanos = (operation: (index: number) => void): number => {
    const began = process.hrtime.bigint()
    for (const index of order) operation(index)
    return Number(process.hrtime.bigint() - began) / operations
  }
  const pairs = Array.from({ length: 5 }, () => [
    nanos((index) => { clock.time += 0.001; store.take(demand(index), 0) }),
    nanos((index) => { const name = key(index); map.set(name, map.get(name)! + 1) })
  ] as const)
  const [own, bare] = [median(pairs.map(([ours]) => ours)), median(pairs.map(([, bare]) => bare))]
  return { keys, 'ns an operation': own, "ns of a bare Map's get and set": bare, ratio: median(pairs.map(([ours, bare]) => ours / bare)), 'bytes a key': bytes, size: store.size }
}

if (only === '') report.table('The store in memory, medians of 5 rounds', [1_000, 100_000, 1_000_000].map(memory))
await http()
report.end()
