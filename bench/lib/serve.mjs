/**
 * The parts that the servers share: the logger, /ping, /cpu (the process's CPU time so far), /times (those of its threads), and how
 * lib/cell.mjs starts and stops them.
 */
import { writeSync } from 'node:fs'
import Fastify from 'fastify'
import { portOf } from './app.mjs'
import { noteThread, readTimes } from './threads.mjs'

const iterationsPerMs = Number(process.env['ITERATIONS_PER_MS'])

/** The options of routes that neither the loop nor @fastify/under-pressure refuses. */
const always = /** @type {object} */ ({ config: { loop: false, pressureHandler () {} } })

/**
 * @param {(app: import('fastify').FastifyInstance) => unknown} setUp adds the routes
 */
export async function serve (setUp) {
  // The logger writes to the standard output, as in an application. cell.mjs discards it.
  const app = Fastify({ logger: true })
  app.get('/ping', always, async () => 'pong')
  app.get('/cpu', always, async () => {
    const { user, system } = process.cpuUsage()
    return { µs: user + system }
  })
  app.get('/times', always, async () => readTimes())
  await setUp(app)
  await app.listen({ port: 0, host: '127.0.0.1' })
  process.stdin.on('end', () => process.exit()).resume()
  writeSync(3, String(portOf(app)))
}

/** @param {import('fastify').FastifyRequest} request */
export function msOf (request) {
  return Number(/** @type {{ ms: string }} */ (request.query).ms)
}

/** @param {import('fastify').FastifyRequest} request */
export function iterationsOf (request) {
  return Math.round(msOf(request) * iterationsPerMs)
}

/** Answers with the result of the job `counted`. @param {{ tid: number, executed: number }} result */
export function countedAnswer ({ tid, executed }) {
  if (tid !== 0) noteThread(tid, executed / iterationsPerMs)
  return { result: executed }
}
