// What each part costs to load: itself, its ground and its own dependencies. A part not used loads nothing, and a thread doesn't load the app.
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { defineJobs } from '../workers/jobs.ts'
import type { Workers } from '../plugins/workers/index.ts'
import { root } from './compiler.ts'
import { execArgv, startApp } from './helper.ts'

const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { exports: Record<string, { 'fastify-concurrency-source': string }> }

interface Loaded { own: string[], packages: string[] }

/** Our files by their path, the rest by the name of its package. */
function sort (urls: readonly string[]): Loaded {
  const files = urls.filter((url) => url.startsWith('file:')).map((url) => fileURLToPath(url.replace(/\?.*/, '')))
  const packages = files.map((file) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1])
  return {
    own: files.filter((_, index) => packages[index] === undefined).map((file) => relative(root, file)).filter((file) => !/^(?:test|loader)\//.test(file)).sort(),
    packages: [...new Set(packages)].filter((name) => name !== undefined).sort()
  }
}

async function loaded (specifiers: string[]): Promise<Loaded> {
  const { stdout } = await promisify(execFile)(process.execPath, [...execArgv, join(root, 'test/fixtures/loaded.ts'), ...specifiers])
  return sort(JSON.parse(stdout) as string[])
}

/** The TypeScript loader, with esbuild where a file has changed since it was compiled, and what tap preloads. */
const preloaded = new Set([...(await loaded([])).packages, 'esbuild'])

const withoutPreloaded = ({ own, packages }: Loaded): Loaded => ({ own, packages: packages.filter((name) => !preloaded.has(name)) })
const loadedBy = async (...specifiers: string[]): Promise<Loaded> => withoutPreloaded(await loaded(specifiers))

t.test('jobs loads nothing outside itself', async (t) => {
  t.strictSame(await loadedBy('fastify-concurrency/jobs'), { own: ['workers/jobs.ts', 'workers/shared-memory.ts'], packages: [] })
})

t.test('a thread loads its host, piscina\'s worker and the jobs; nothing of the application', async (t) => {
  const jobs = defineJobs(new URL('fixtures/modules-jobs.ts', import.meta.url), { modules: { load: () => import('./fixtures/jobs/modules.ts') } })
  const { app } = await startApp(t, { jobs, decorator: 'probes' })
  const { own, packages } = withoutPreloaded(sort(await app.getDecorator<Workers<typeof jobs>>('probes').run('modules')))
  t.ok(own.includes('workers/host.ts'))
  t.strictSame(own.filter((file) => !file.startsWith('workers/')), [])
  t.strictSame(packages, ['piscina'])
})

t.test('the suite loads lifecycle, tasks and locks at once, before a boot has to wait for them, and other parts only if they are used', async (t) => {
  const { own, packages } = await loadedBy('fastify-concurrency')
  const folders = own.map((file) => dirname(file)).filter((folder) => folder !== 'plugins' && !folder.startsWith('plugins/shared'))
  t.strictSame([...new Set(folders.map((folder) => folder.split('/', 2).join('/')))], ['plugins/cancellation', 'plugins/core', 'plugins/lifecycle', 'plugins/locks', 'plugins/tasks', 'workers'])
  t.strictSame(own.filter((file) => file.startsWith('workers/')), ['workers/mark.ts'])
  t.notOk(packages.includes('piscina'))
  const without = await loadedBy('./without-workers.ts')
  t.strictSame(without.own.filter((file) => file.startsWith('plugins/workers/')), [])
  t.ok(without.own.includes('plugins/lifecycle/index.ts'))
  t.notOk(without.own.some((file) => file.startsWith('plugins/limiter/')), 'no policies, no limiter')
  t.strictSame(without.packages.filter((name) => name === 'piscina' || name === '@fastify/rate-limit'), [])
})

/** Each plugin's own dependencies and theirs, beside fastify-plugin and @fastify/error. */
const dependencies: Record<string, string[]> = {
  workers: ['piscina'],
  limiter: ['@fastify/rate-limit', '@lukeed/ms', 'ip-address', 'toad-cache']
}

for (const subpath of Object.keys(exports)) {
  const name = subpath.slice(2)
  const folder = `plugins/${name.split('/', 1)[0]}/`
  if (!exports[subpath]?.['fastify-concurrency-source']?.startsWith(`./${folder}`)) continue
  t.test(`${name} loads no sibling but cancellation and core, no framework, and no dependency of another plugin`, async (t) => {
    const { own, packages } = await loadedBy(`fastify-concurrency/${name}`)
    t.strictSame(own.filter((file) => !/^(workers\/|plugins\/[^/]+$|plugins\/(shared|core|cancellation)\/)/.test(file) && !file.startsWith(folder)), [])
    const allowed = ['@fastify/error', 'fastify-plugin', ...dependencies[name] ?? []]
    t.strictSame(packages.filter((name) => !allowed.includes(name)), [])
  })
}
