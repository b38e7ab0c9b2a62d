// Without TypeScript and its interop: what require() gives is what register() takes.
const assert = require('node:assert/strict')
const { jobs } = require('./out/jobs.js')

async function main () {
  const app = require('fastify')()
  app.register(require('fastify-concurrency'), { workers: { jobs, maxThreads: 1 } })
  await app.ready()
  assert.equal((await app.workers.run('triple', { n: 14 })).tripled, 42)
  await app.close()
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
