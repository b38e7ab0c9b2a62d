// app.cjs
const closeWithGrace = require('close-with-grace')
const Fastify = require('fastify')
const { default: concurrency } = require('fastify-concurrency')
const { jobs } = require('./jobs.cjs')

async function main () {
  const app = Fastify()
  await app.register(concurrency, { workers: { jobs } })
  app.get('/square', async () => app.workers.run('square', 7))

  closeWithGrace({ delay: 10_000, logger: app.log }, ({ signal, err }) => {
    if (err !== undefined) app.log.fatal({ err }, 'uncaught error')
    return app.lifecycle.shutdown(signal ?? err?.message)
  })
  await app.listen({ port: 3000 })
}

main().catch((error) => {
  console.error(error)
  process.exit(1)   // not process.exitCode: close-with-grace would end the process with 0
})
