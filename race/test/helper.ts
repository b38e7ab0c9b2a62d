// Apps whose races are looked for. It defines no test.
import { setImmediate as turn } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import race, { type RaceReport } from '../src/index.ts'
import { detector } from '../src/detector.ts'

export { turn }

/** Reports of what two requests or more do at the same time; they are not printed, and don't fail the test's own run. */
export async function racesOf (build: (app: FastifyInstance) => void | Promise<void>, urls: readonly string[] = ['/', '/']): Promise<RaceReport[]> {
  const reports: RaceReport[] = []
  const app = Fastify() as unknown as FastifyInstance
  const unsilence = detector.reports.silence()
  const unlisten = detector.reports.onReport((report) => { reports.push(report) })
  try {
    await app.register(race)
    await build(app)
    await Promise.all(urls.map(async (url) => app.inject(url)))
    await app.close()
  } finally {
    unlisten()
    unsilence()
  }
  return reports
}

export const confirmed = (reports: readonly RaceReport[]): string[] => reports.filter(({ isConfirmed }) => isConfirmed).map(({ kind, location }) => `${kind} on ${location}`)
