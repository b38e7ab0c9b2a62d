/**
 * Installs the packed packages in a scratch project and uses them as applications do: types and a real job on a thread, as ES modules, as
 * CommonJS, and bundled. It runs on Linux, macOS and Windows, so it needs no shell.
 *
 * Usage: `node test/consumer/run.mjs <tarball> <tarball of race/> [node …]`. The further Node binaries run what this one compiled.
 */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const here = import.meta.dirname
const [tarball, race, ...nodes] = process.argv.slice(2)
const scratch = mkdtempSync(join(tmpdir(), 'fastify-concurrency-consumer-'))
process.once('exit', () => rmSync(scratch, { recursive: true, force: true, maxRetries: 5 }))
cpSync(here, scratch, { recursive: true })

// On Windows, npm is a script of the shell.
const shell = process.platform === 'win32'
const tarballs = [tarball, race].map((file) => shell ? `"${resolve(file)}"` : resolve(file))
execFileSync('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error', ...tarballs], { cwd: scratch, stdio: 'inherit', shell })

/** An application that hangs is ended. Compilers take what they need. */
const TIMEOUT = 60_000

/** Runs a Node program in the scratch project and returns how it ended, which must be with `code` if that is given. */
function run (node, args, { code, env = {}, cwd = scratch, timeout = TIMEOUT } = {}) {
  const ended = spawnSync(node, args, { cwd, encoding: 'utf8', timeout, env: { ...process.env, ...env } })
  const output = `${ended.stdout}${ended.stderr}`
  if (code !== undefined) assert.equal(ended.status, code, `${args.join(' ')} on ${node} ended with ${ended.status ?? ended.signal}:\n${output}`)
  return { code: ended.status, output, stdout: ended.stdout?.trim() }
}
const tsc = (args, expected = {}) => run(process.execPath, [join('node_modules', 'typescript', 'bin', 'tsc'), ...args], { timeout: 0, ...expected })

// Every subpath, types and runtime. A preload exports nothing.
const subpaths = ['fastify-concurrency', 'fastify-concurrency-race'].flatMap((name) => {
  const { exports } = JSON.parse(readFileSync(join(scratch, 'node_modules', name, 'package.json'), 'utf8'))
  return Object.keys(exports).map((subpath) => name + subpath.slice(1))
}).filter((subpath) => !/\/(package\.json|register)$/.test(subpath))
writeFileSync(join(scratch, 'subpaths.ts'), [
  ...subpaths.map((subpath, index) => `import * as part${index} from '${subpath}'`),
  `for (const part of [${subpaths.map((_, index) => `part${index}`)}]) if (Object.keys(part).length === 0) throw new Error('a subpath without exports')`
].join('\n'))

for (const form of ['esm', 'commonjs']) {
  for (const part of ['app.ts', 'migrated.ts', 'subpaths.ts', 'jobs']) cpSync(join(scratch, part), join(scratch, form, part), { recursive: true })
  tsc(['-p', form], { code: 0 })
}
tsc(['-p', 'bundler'], { code: 0 })

// The code blocks of the docs, with the types that are published.
const loader = new URL('../../loader/typescript.js', import.meta.url).href
run(process.execPath, ['--import', loader, join(here, '..', 'docs', 'packed.ts'), scratch], { code: 0, cwd: join(here, '..', '..'), timeout: 0 })
const services = join('docs-blocks', 'docs', 'typescript-and-bundlers')

// What docs/typescript-and-bundlers.md says of CommonJS under TypeScript's options.
const options = join(services, 'options.ts')
writeFileSync(join(scratch, services, 'package.json'), '{ "type": "commonjs" }')
writeFileSync(join(scratch, options), "import concurrency from 'fastify-concurrency'; console.log(concurrency)")
for (const [how, mistake] of [
  ['--module nodenext'],
  ['--module node20'],
  ['--module commonjs --moduleResolution bundler'],
  ['--module node16', 'TS1479'],
  ['--module node18', 'TS1479'],
  ['--module commonjs --moduleResolution node10 --ignoreDeprecations 6.0', 'TS2307']
]) {
  const { output, code } = tsc(['--ignoreConfig', '--noEmit', '--target', 'es2023', '--types', 'node', '--skipLibCheck', ...how.split(' '), options])
  if (mistake === undefined) assert.equal(code, 0, `docs/typescript-and-bundlers.md: ${how}\n${output}`)
  else assert.ok(output.includes(mistake), `docs/typescript-and-bundlers.md: not ${mistake} for ${how}\n${output}`)
}
rmSync(join(scratch, services, 'package.json'))
rmSync(join(scratch, options))

const { buildSync } = await import(pathToFileURL(join(scratch, 'node_modules/esbuild/lib/main.js')).href)
const bundle = { bundle: true, platform: 'node', format: 'esm', packages: 'external', absWorkingDir: scratch, logLevel: 'warning' }
buildSync({ ...bundle, entryPoints: ['esm/app.ts', 'esm/jobs.ts'], splitting: true, outdir: 'bundled' })
buildSync({ ...bundle, entryPoints: ['esm/app.ts'], outfile: 'one-file/app.js' })

const apps = ['esm/out/subpaths.js', 'esm/out/app.js', 'commonjs/out/subpaths.js', 'commonjs/out/app.js', 'commonjs/plain.cjs', 'bundled/app.js']
for (const node of [...nodes, process.execPath]) {
  const { stdout: version } = run(node, ['--version'], { code: 0 })
  for (const app of apps) run(node, ['--no-warnings', app], { code: 0 })

  // The services that the docs show, in JavaScript, and in TypeScript: with the docs' preload where Node can't run it by itself.
  const preload = version.startsWith('v20.') ? ['--import', pathToFileURL(join(scratch, services, 'tsx.mjs')).href] : []
  for (const [service, ...args] of [['app.js'], ['app.ts', ...preload]]) {
    const { stdout } = run(node, ['--no-warnings', ...args, join(services, service)], { code: 0 })
    assert.equal(stdout, '49', `${service} of the docs on Node ${version}`)
  }
  const { stdout } = run(node, [fileURLToPath(new URL('serve.mjs', import.meta.url)), join(services, 'app.cjs'), '/square'], { code: 0 })
  assert.equal(stdout, '49', `app.cjs of the docs on Node ${version}`)

  // The race detector finds the race of an application that knows nothing of it.
  const racy = run(node, ['--no-warnings', '--import', 'fastify-concurrency-race/register', 'racy.mjs'], { code: 66, env: { RACE: '1' } })
  assert.match(racy.output, /WARNING: RACE lost update on visits/, `racy.mjs on Node ${version}`)

  // The jobs file was not made an entry point of its own: the boot says so, and no thread starts a second app.
  const oneFile = run(node, ['--no-warnings', 'one-file/app.js'])
  assert.notEqual(oneFile.code, 0, 'a bundle without an entry point for the jobs was accepted')
  assert.match(oneFile.output, /bundle it as an entry point of its own/)
  console.log(`consumers: ok on Node ${version}`)
}
