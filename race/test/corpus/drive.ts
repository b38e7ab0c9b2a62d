// Sends overlapping requests to applications of plain/, one after the other in a process of their own, and prints the status codes of each after
// its reports.
// Usage: node --conditions=fastify-concurrency-source --import ./loader/typescript.js test/race/corpus/drive.ts cooldown.ts …
import { plainProgram } from './plain.ts'

for (const file of process.argv.slice(2)) {
  const { build, twin } = await plainProgram(file)
  const app = await build()
  const responses = await Promise.all(twin.requests.map(async (request) => app.inject(request)))
  await app.close()
  process.stderr.write(`== ${file}: ${responses.map(({ statusCode }) => statusCode).join(' ')}\n`)
}
