/**
 * Sends 10,000 webhooks at once over 200 connections (or the given number), each of which enqueues a task of 20 ms with default options. It prints
 * what was answered, how the memory grew, and how fast /live answered meanwhile. The service, the flood and the probe are processes of their own, so
 * that none of them measures the delay of another.
 *
 *   node --conditions=fastify-concurrency-source --import ./loader/typescript.js bench/webhooks.ts [--connections 200] [--save]
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { Agent } from 'node:http'
import { fileURLToPath } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import lifecycle from '../plugins/lifecycle/index.ts'
import tasks from '../plugins/tasks/index.ts'
import { ask } from '../test/fixtures/load.ts'
import { percentile, Report } from './lib/report.mjs'

const WEBHOOKS = 10_000
const [role, port, connections] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])]

function start (role: string, ...args: string[]): ChildProcess {
  return fork(fileURLToPath(import.meta.url), [role, ...args], { execArgv: process.execArgv })
}

async function message<T> (child: ChildProcess): Promise<T> {
  return (await once(child, 'message') as [T])[0]
}

if (role === 'service') {
  const app = Fastify()
  await app.register(lifecycle, { livePath: '/live' })
  await app.register(tasks)
  let n = 0
  app.post('/webhooks', async (_request, reply) => {
    app.tasks.submit(`webhook:${n++}`, () => sleep(20))
    return reply.code(202).send()
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const before = process.memoryUsage().rss
  let peak = before
  const watch = setInterval(() => { peak = Math.max(peak, process.memoryUsage().rss) }, 10)
  process.send!((app.server.address() as { port: number }).port)
  await once(process, 'message')
  await app.tasks.idle()
  clearInterval(watch)
  process.send!({ grownMb: (peak - before) / 2 ** 20, completed: app.tasks.stats().completed })
  await app.close()
  process.disconnect()
} else if (role === 'flood') {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const answers: Record<string, number> = {}
  await Promise.all(Array.from({ length: WEBHOOKS }, async () => {
    const answer = await ask(port, '/webhooks', agent, 'POST')
    answers[answer] = (answers[answer] ?? 0) + 1
  }))
  agent.destroy()
  process.send!(answers)
  process.disconnect()
} else {
  const report = new Report('webhooks', { connections: '200' })
  const service = start('service')
  const port = await message<number>(service)
  const connections = report.number('connections')
  const flood = start('flood', String(port), String(connections))
  const ended = message<Record<string, number>>(flood)
  const over = new AbortController()
  ended.finally(() => over.abort()).catch(() => {})
  const waits: number[] = []
  while (!over.signal.aborted) {
    const before = performance.now()
    await ask(port, '/live', false)
    waits.push(performance.now() - before)
    await sleep(2)
  }
  const answers = await ended
  service.send('done')
  const { grownMb, completed } = await message<{ grownMb: number, completed: number }>(service)
  report.table(`${WEBHOOKS} webhooks over ${connections} connections`, [
    ...Object.entries(answers).map(([answer, count]) => ({ what: `answers ${answer}`, value: count })),
    { what: 'tasks completed', value: completed },
    { what: 'memory grew by at most, MB', value: grownMb },
    { what: '/live, probes', value: waits.length },
    { what: '/live, median ms', value: percentile(waits, 0.5) },
    { what: '/live, p99 ms', value: percentile(waits, 0.99) }
  ])
  report.end()
}
