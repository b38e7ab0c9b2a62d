/** Installs @fastify/under-pressure from npm, which no other part of the repository needs. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const VERSION = '9.2.0'

/** @returns {string} the path of its module */
export function underPressure () {
  const folder = join(tmpdir(), `fastify-concurrency-under-pressure-${VERSION}`)
  const module = join(folder, 'node_modules/@fastify/under-pressure/index.js')
  if (!existsSync(module)) {
    mkdirSync(folder, { recursive: true })
    execFileSync('npm', ['install', '--silent', '--no-audit', '--no-fund', '--prefix', folder, `@fastify/under-pressure@${VERSION}`], { stdio: 'inherit' })
  }
  return module
}
