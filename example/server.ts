import closeWithGrace from 'close-with-grace'
import { buildApp, SHUTDOWN_TIMEOUT } from './app.ts'

const app = buildApp({ logger: { level: process.env['LOG_LEVEL'] ?? 'info' }, redisUrl: process.env['REDIS_URL'], tasks: { consume: process.env['CONSUME'] !== 'false' }, smtpUrl: process.env['SMTP_URL'] })

// Past `delay` it exits at once, whoever is still served: it must be longer than what a clean shutdown may take.
closeWithGrace({ delay: SHUTDOWN_TIMEOUT + 2_000, logger: app.log }, async ({ signal, err }) => {
  if (err !== undefined) app.log.error(err, 'shutting down')
  const report = await app.lifecycle.shutdown(signal ?? err?.message ?? 'closed')
  app.log.info({ report }, 'shut down')
})

const address = await app.listen({ port: Number(process.env['PORT'] ?? 3000), host: process.env['HOST'] ?? '127.0.0.1' })
console.log(`Open ${address} and try it; Ctrl-C shuts it down cleanly.`)
