// Anything that a job, its caller or its thread may do, in any order. FC_FUZZ=6x6000 makes it 6 seeds of 6,000 runs; FC_FUZZ_SEED names the first.
import t from 'tap'
import Fastify from 'fastify'
import { readdirSync } from 'node:fs'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import * as channels from '../../plugins/workers/channels.ts'
import workersPlugin, { type RunOptions, type Workers } from '../../plugins/workers/index.ts'
import { assertIdle } from '../../plugins/testing.ts'
import { within } from '../../plugins/shared/within.ts'
import { jobs } from '../fixtures/fuzz-jobs.ts'
import type { Action, FuzzPayload } from '../fixtures/jobs/fuzz.ts'
import { execArgv, logLines } from '../helper.ts'

const [seeds = 1, runs = 600] = (process.env['FC_FUZZ'] ?? '').split('x').filter(Boolean).map(Number)
const firstSeed = Number(process.env['FC_FUZZ_SEED'] ?? 1)

/** Out of a hundred thousand: what ends a thread costs the time of a new one. */
const weights: ReadonlyArray<[action: Action, weight: number]> = [
  ['returns', 34_000], ['spins', 12_000], ['polls', 5_000], ['waits', 8_000], ['ignores', 3_000], ['native', 1_500], ['loops', 200], ['never', 200],
  ['exits', 300], ['exitsLater', 150], ['uncaught', 200], ['throwsLater', 200], ['rejectsLater', 150], ['holdsLater', 2_000], ['loopsLater', 80], ['talksLater', 1_000],
  ['throws', 3_000], ['throwsFalsy', 3_000], ['deepResult', 3_000], ['hugeResult', 600], ['functionResult', 2_000], ['transferred', 3_000], ['badTransfer', 1_000],
  ['gives', 8_000], ['progresses', 2_000], ['awkwardProgress', 2_000], ['logs', 2_000], ['hoards', 2_000], ['outOfMemory', 40]
]
const total = weights.reduce((sum, [, weight]) => sum + weight, 0)

/** mulberry32: the same numbers for the same seed. */
function randomFrom (seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6D2B79F5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor(((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32 * below)
  }
}

function nested (levels: number): unknown {
  return JSON.parse('['.repeat(levels) + ']'.repeat(levels))
}

for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
  t.test(`seed ${seed}: ${runs} runs of anything all settle, none runs twice, and the pool serves afterwards`, { timeout: 60_000 + runs * 100 }, async (t) => {
    const random = randomFrom(seed)
    const chance = (percent: number): boolean => random(100) < percent
    const { lines, logger } = logLines()
    const app = Fastify({ logger })
    await app.register(workersPlugin, {
      jobs, execArgv, maxThreads: 3, maxQueue: 200, grace: 40, timeout: 5_000, resourceLimits: { maxOldGenerationSizeMb: 128 }
    })
    await app.ready()
    const workers = app.getDecorator<Workers<typeof jobs>>('workers')
    const starts = new Int32Array(new SharedArrayBuffer(4 * runs))
    const threads = (): number => process.platform === 'linux' ? readdirSync('/proc/self/task').length : 0
    const threadsBefore = threads()
    let threadsMost = 0
    const under = new Map<number, { does: Action, controller: AbortController }>()
    const outcomes: Record<string, number> = {}

    // Subscribers abort in the middle of what the pool does.
    const meddle = (): void => {
      if (!chance(2) || under.size === 0) return
      const [, { controller }] = [...under][random(under.size)]!
      controller.abort()
    }
    for (const name of ['queued', 'dispatched', 'refused', 'aborted', 'crashed'] as const) {
      subscribe(channels[name].name, meddle)
      t.teardown(() => unsubscribe(channels[name].name, meddle))
    }

    function action (): Action {
      let left = random(total)
      for (const [name, weight] of weights) {
        if (left < weight) return name
        left -= weight
      }
      return 'returns'
    }

    async function run (id: number): Promise<void> {
      const does = action()
      const payload: FuzzPayload = { starts, run: id, does, size: random(10) }
      const controller = new AbortController()
      const options: RunOptions = { signal: controller.signal, key: String(random(5)) }
      let expected: unknown
      if (does === 'gives') {
        const kind = random(8)
        if (kind === 0) payload.data = nested(random(12_000))
        else if (kind === 1) payload.data = Array.from({ length: random(30_000) }, (_, n) => ({ n }))
        else if (kind === 2) payload.data = { list: [() => {}] }
        else if (kind < 5) {
          const buffer = new ArrayBuffer(1_024)
          payload.data = buffer
          options.transferList = [buffer]
        } else payload.data = expected = id
      }
      if (chance(10) || does === 'loops' || does === 'never') options.timeout = 5 + random(60)
      else if (chance(1) && does !== 'outOfMemory') options.timeout = Infinity
      if (chance(10)) {
        options.onProgress = () => {
          if (chance(1)) throw new Error('onProgress')
          if (chance(1)) controller.abort()
        }
      }
      if (chance(3)) controller.abort()
      else if (chance(3)) process.nextTick(() => controller.abort())
      else if (chance(5)) setTimeout(() => controller.abort(), random(20))
      under.set(id, { does, controller })
      try {
        const result = await workers.run((['work', 'capped', 'urgent', 'brief'] as const)[chance(70) ? 0 : random(4)]!, payload, options)
        outcomes['completed'] = (outcomes['completed'] ?? 0) + 1
        if (Atomics.load(starts, id) !== 1) t.fail(`run ${id} (${does}) has a result and was started ${Atomics.load(starts, id)} times`)
        if (['returns', 'spins', 'polls', 'waits'].includes(does)) expected = id
        if (expected !== undefined && result !== expected) t.fail(`run ${id} (${does}) got ${String(result)}`)
      } catch (error) {
        const { code, message } = error as { code?: string, message?: string }
        const outcome = code ?? String(message)
        outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
        if (code === undefined && message !== 'onProgress') t.fail(`run ${id} (${does}) failed with ${String(error)}`)
      }
      under.delete(id)
    }

    for (let id = 0; id < runs;) {
      const wave = 1 + random(chance(20) ? 120 : 20)
      const all = Array.from({ length: Math.min(wave, runs - id) }, async () => await run(id++))
      if (chance(90)) await within(20_000, Promise.all(all).then(() => {}))
      else await new Promise((resolve) => setTimeout(resolve, random(10)))
      threadsMost = Math.max(threadsMost, threads())
    }
    const settled = await within(60_000, (async () => { while (under.size > 0) await new Promise((resolve) => setTimeout(resolve, 5)) })())
    t.ok(settled, `all settle: ${[...under].map(([id, { does }]) => `${id} ${does} started ${starts[id]}`).join(', ') || 'none is left'}`)
    t.ok(await within(30_000, workers.idle()), 'nothing runs or waits')
    t.same([...starts.entries()].filter(([, count]) => count > 1), [], 'none ran twice')
    t.ok(threadsMost <= threadsBefore, `${threadsMost} threads at most, ${threadsBefore} before`)
    const served = Array.from({ length: 20 }, async () => await workers.run('work', { starts: new Int32Array(new SharedArrayBuffer(4)), run: 0, does: 'spins', size: 1 }, { timeout: 30_000 }))
    t.same(await Promise.all(served), served.map(() => 0), 'the pool serves')
    t.same(lines.filter(({ msg }) => /can't start|could not be dealt with/.test(msg)), [])
    t.comment(JSON.stringify(outcomes))
    await app.close()
    await assertIdle(app)
  })
}
