// Sends overlapping requests to applications of racy/ and clean/, one after the other, and prints the status codes of each after its reports.
// Usage: RACE=1 node --conditions=fastify-concurrency-source --import ./loader/typescript.js --import fastify-concurrency-race/register race/test/apps/drive.ts racy/wallet-class.ts …
import type { FastifyInstance, InjectOptions } from 'fastify'

interface Application {
  requests: Array<string | InjectOptions>
  build (): FastifyInstance | Promise<FastifyInstance>
}

for (const file of process.argv.slice(2)) {
  const { build, requests } = await import(new URL(file, import.meta.url).href) as Application
  const app = await build()
  const responses = await Promise.all(requests.map(async (request) => app.inject(request)))
  await app.close()
  process.stderr.write(`== ${file}: ${responses.map(({ statusCode }) => statusCode).join(' ')}\n`)
}
