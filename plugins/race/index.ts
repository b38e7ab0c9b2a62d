/**
 * The race detector: finds requests that overwrite each other's changes of state in memory, in tests, as `go test -race` does.
 *
 * It reports what happened: an order of requests in which a write rested on a value that another request had changed meanwhile. It says nothing of
 * orders that didn't happen. It knows state that is marked with `shared()`, or that race/register has rewritten, in this process and thread only.
 */
import fp from 'fastify-plugin'
import type { FastifyInstance } from 'fastify'
import { RaceError } from '../shared/errors.ts'
import { instrument, trackLocks } from './contexts.ts'
import { detector } from './detector.ts'
import { resolveOptions, type RaceOptions } from './options.ts'
import type { RaceReport } from './reports.ts'

export { explore } from './explore/explore.ts'
export type { Explored, ExploreOptions } from './explore/explore.ts'
export { hammer } from './hammer.ts'
export type { HammerOptions } from './hammer.ts'
export type { RaceOptions, SharedOptions } from './options.ts'
export type { RaceKind, RaceReport } from './reports.ts'
export { shared } from './shared.ts'

const kRace = Symbol('fastify-concurrency.race')

async function race (app: FastifyInstance, options: RaceOptions): Promise<void> {
  const { fail, maxLocations } = resolveOptions(options)
  if (app.hasDecorator(kRace)) return
  app.decorate(kRace, true)
  // A line that was left in the application costs its users nothing.
  if (process.env['NODE_ENV'] === 'production' && process.env['RACE'] !== '1') {
    app.log.warn('race: NODE_ENV is production, so no races are looked for; RACE=1 does it all the same')
    return
  }
  const found: RaceReport[] = []
  const release = detector.use()
  const untrackLocks = trackLocks()
  const unlisten = detector.reports.onReport((report, owner) => { if (report.isConfirmed && owner === app.server) found.push(report) })
  detector.shadow.most = maxLocations
  instrument(app)
  app.addHook('onClose', async () => {
    unlisten()
    untrackLocks()
    release()
    if (fail && found.length > 0) throw new RaceError(found.length, found.map(({ text }) => text).join('\n'))
  })
}

export default fp(race, { name: 'fastify-concurrency/race', fastify: '5.x' })
