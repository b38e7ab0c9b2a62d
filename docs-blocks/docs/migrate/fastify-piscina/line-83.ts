import type { FastifyInstance } from 'fastify'
import 'fastify-concurrency'
declare const app: FastifyInstance
import closeWithGrace from 'close-with-grace'

closeWithGrace({ delay: 10_000, logger: app.log }, ({ signal, err }) => {
  if (err !== undefined) app.log.fatal({ err }, 'uncaught error')
  return app.lifecycle.shutdown(signal ?? err?.message)
})
export {}
