/**
 * The race detector: finds requests that overwrite each other's changes of state in memory, in tests, as `go test -race` does.
 *
 * It reports what happened: an order of requests in which a write rested on a value that another request had changed meanwhile. It says nothing of
 * orders that didn't happen. It knows state that is marked with `shared()`, or that race/register has rewritten, in this process and thread only.
 */
import fp from 'fastify-plugin'
import type { FastifyInstance } from 'fastify'
import { failAtClose, instrument, start, trackLocks } from './contexts.ts'
import { detector } from './detector.ts'
import { isRequested } from './environment.ts'
import { resolveOptions, type RaceOptions } from './options.ts'
import { requireParser } from './source/parse.ts'

export { ExploreError, OptionInvalidError, RaceError, RaceUnreadableError } from './errors.ts'
export { explore } from './explore/explore.ts'
export type { Explored, ExploreOptions } from './explore/explore.ts'
export { hammer } from './hammer.ts'
export type { HammerOptions } from './hammer.ts'
export type { RaceOptions, SharedOptions } from './options.ts'
export type { RaceKind, RaceReport } from './reports.ts'
export { shared } from './shared.ts'

start()

const kRace = Symbol('fastify-concurrency-race')

async function race (app: FastifyInstance, options: RaceOptions): Promise<void> {
  const { fail, maxLocations } = resolveOptions(options)
  if (app.hasDecorator(kRace)) return
  app.decorate(kRace, true)
  // A line that was left in the application costs its users nothing.
  if (process.env['NODE_ENV'] === 'production' && !isRequested()) {
    app.log.warn('race: NODE_ENV is production, so no races are looked for; RACE=1 does it all the same')
    return
  }
  if (fail) {
    requireParser()
    failAtClose(app)
  }
  const release = detector.use()
  const untrackLocks = trackLocks()
  detector.shadow.most = maxLocations
  instrument(app)
  app.addHook('onClose', async () => {
    untrackLocks()
    release()
  })
}

export default fp(race, { name: 'fastify-concurrency-race', fastify: '5.x' })
