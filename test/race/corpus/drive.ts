// Sends overlapping requests to an application of plain/, in a process of its own, and prints the status codes.
// Usage: node --conditions=fastify-concurrency-source --import ./tsx.js test/race/corpus/drive.ts cooldown.ts
import { plainProgram } from './plain.ts'

const { build, twin } = await plainProgram(process.argv[2] ?? '')
const app = await build()
const responses = await Promise.all(twin.requests.map(async (request) => app.inject(request)))
console.log(responses.map(({ statusCode }) => statusCode).join(' '))
await app.close()
