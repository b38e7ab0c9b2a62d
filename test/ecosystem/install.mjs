/**
 * Installs a published package beside the tests that it holds, with what these tests need, in the cache.
 *
 * npm resolves as of a fixed day, so that a suite is the same wherever and whenever it is installed.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const readJson = (file) => JSON.parse(readFileSync(file, 'utf8'))

export function npm (folder, ...args) {
  execFileSync('npm', [...args, '--no-audit', '--no-fund', '--loglevel=error'], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] })
}

/** Runs `fill` on an empty folder unless the folder was filled before. A folder that was filled in part never has its name. */
export function cached (folder, fill) {
  if (existsSync(folder)) return folder
  const partial = `${folder}.partial`
  rmSync(partial, { recursive: true, force: true })
  mkdirSync(partial, { recursive: true })
  fill(partial)
  renameSync(partial, folder)
  return folder
}

/** @param pins versions of packages that the tests need, by name, where the package's own manifest doesn't do */
export function installSuite (cache, { name, version, pins = {} }, { before, fastify }) {
  const key = createHash('sha256').update(JSON.stringify([pins, before, fastify])).digest('hex').slice(0, 8)
  return cached(join(cache, `${name.replace('/', '-')}-${version}-${key}`), (folder) => {
    npm(folder, 'pack', `${name}@${version}`)
    const [tarball] = readdirSync(folder)
    execFileSync('tar', ['-xzf', tarball, '--strip-components=1'], { cwd: folder })
    rmSync(join(folder, tarball))

    const manifest = join(folder, 'package.json')
    const { devDependencies, scripts, ...rest } = readJson(manifest)
    // Linters and type checkers aside: what the tests name.
    const texts = testFiles(folder, /\.[cm]?js$/).map((file) => readFileSync(join(folder, file), 'utf8')).join('\n')
    const needed = Object.entries(devDependencies).filter(([each]) => ['\'', '"'].some((quote) => texts.includes(`${quote}${each}${quote}`) || texts.includes(`${quote}${each}/`)))
    const ranges = Object.fromEntries(needed.map(([each, range]) => [each, each === 'fastify' ? fastify : range]))
    writeFileSync(manifest, JSON.stringify({ ...rest, devDependencies: { ...ranges, ...pins } }))
    npm(folder, 'install', '--ignore-scripts', `--before=${before}`)
  })
}

/** The files of a package's tests, sorted, whose path below test/ matches. */
export function testFiles (folder, pattern) {
  return readdirSync(join(folder, 'test'), { recursive: true })
    .filter((file) => pattern.test(file) && !file.includes('node_modules'))
    .sort()
    .map((file) => join('test', file))
}
