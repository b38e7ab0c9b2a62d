/** Installs other versions of Node from npm. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { arch, platform, tmpdir } from 'node:os'
import { join } from 'node:path'

/** @param {string} major such as '24' */
export function nodeBinary (major) {
  if (process.versions.node.startsWith(`${major}.`)) return process.execPath
  const folder = join(tmpdir(), `fastify-concurrency-node-${major}`)
  const name = `node-${platform()}-${arch()}`
  const binary = join(folder, 'node_modules', name, 'bin/node')
  if (!existsSync(binary)) {
    mkdirSync(folder, { recursive: true })
    execFileSync('npm', ['install', '--silent', '--no-audit', '--no-fund', '--prefix', folder, `${name}@${major}`], { stdio: 'inherit' })
  }
  return binary
}
