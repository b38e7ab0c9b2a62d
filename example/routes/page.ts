import { readFileSync } from 'node:fs'
import type { FastifyPluginAsync } from 'fastify'

const files = {
  '/': ['index.html', 'text/html; charset=utf-8'],
  '/style.css': ['style.css', 'text/css; charset=utf-8'],
  '/page.js': ['page.js', 'text/javascript; charset=utf-8']
} as const

/** Three small files, read once at boot: no file name ever comes from a request. */
const page: FastifyPluginAsync = async (app) => {
  for (const [url, [name, type]] of Object.entries(files)) {
    const content = readFileSync(new URL(`../public/${name}`, import.meta.url))
    app.get(url, { config: { limiter: false } }, async (_request, reply) => reply
      .type(type)
      .header('content-security-policy', "default-src 'self'; img-src 'self' data: blob:")
      .header('cache-control', 'no-cache')
      .send(content))
  }
}

export default page
