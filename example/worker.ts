/** The service as a worker: it runs the stored tasks of the fleet, and doesn't listen. Needs REDIS_URL; start the web processes with CONSUME=false. */
import closeWithGrace from 'close-with-grace'
import { buildApp, SHUTDOWN_TIMEOUT } from './app.ts'

const redisUrl = process.env['REDIS_URL'] ?? 'redis://localhost'
const app = buildApp({ logger: { level: process.env['LOG_LEVEL'] ?? 'info' }, redisUrl, smtpUrl: process.env['SMTP_URL'] })

closeWithGrace({ delay: SHUTDOWN_TIMEOUT + 2_000, logger: app.log }, async ({ signal, err }) => {
  if (err !== undefined) app.log.error(err, 'shutting down')
  const report = await app.lifecycle.shutdown(signal ?? err?.message ?? 'closed')
  app.log.info({ report }, 'shut down')
})

await app.ready()
console.log(`A worker of ${redisUrl}; Ctrl-C lets it finish what it runs.`)
