// The package: what it exports and loads, and that its README has the options and errors of the code.
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { exportsOf, program, root } from '../../test/compiler.ts'
import { readPages } from '../../test/docs/pages.ts'
import { execArgv } from '../../test/helper.ts'
import * as errors from '../src/errors.ts'
import { exploreOptionNames } from '../src/explore/explore.ts'
import { hammerOptionNames } from '../src/hammer.ts'
import { raceOptionNames, sharedOptionNames } from '../src/options.ts'

const manifest = (file: string): { version: string, exports: object, dependencies: object } => JSON.parse(readFileSync(join(root, file), 'utf8')) as never
const page = readPages().find(({ name }) => name === 'race/README')!

/** The names in the first column of the table under a heading. */
function names (heading: string): string[] {
  const [, section = ''] = page.text.split(`\n## ${heading}\n`)
  const rows = section.split(/^#/m)[0]?.split('\n').filter((line) => line.startsWith('|')).slice(2) ?? []
  return rows.map((row) => /`([^`]+)`/.exec(row)?.[1] ?? '').sort()
}

const options = {
  'Options of race': raceOptionNames,
  'Options of shared()': sharedOptionNames,
  'Options of explore()': exploreOptionNames,
  'Options of hammer()': hammerOptionNames
}

for (const [heading, known] of Object.entries(options)) {
  t.test(`${heading}: each has a row, and each row is one`, async (t) => {
    t.strictSame(names(heading), [...known].sort())
  })
}

t.test('each error has a row, and each row an error', async (t) => {
  const codes = Object.values(errors).map((Class) => new (Class as unknown as new (...args: unknown[]) => { code: string })('x', {}, {}).code)
  t.strictSame(names('Errors of race'), codes.sort())
})

t.test('what it exports', async (t) => {
  const compiled = program('race/tsconfig.build.json')
  t.strictSame(exportsOf(compiled, 'race/src/index.ts'), {
    values: [...Object.keys(errors), 'default', 'explore', 'hammer', 'shared'].sort(),
    types: ['ExploreOptions', 'Explored', 'HammerOptions', 'RaceKind', 'RaceOptions', 'RaceReport', 'SharedOptions']
  })
  t.strictSame(Object.keys(manifest('race/package.json').exports), ['.', './register', './package.json'])
})

t.test('it loads nothing of the suite, and is released together with it', async (t) => {
  const { stdout } = await promisify(execFile)(process.execPath, [...execArgv, join(root, 'test/fixtures/loaded.ts'), 'fastify-concurrency-race', 'fastify-concurrency-race/register'])
  const loaded = (JSON.parse(stdout) as string[]).filter((url) => url.startsWith(new URL('../../', import.meta.url).href) && !url.includes('/node_modules/'))
  t.ok(loaded.some((url) => url.includes('/race/src/detector.ts')))
  t.strictSame(loaded.filter((url) => /\/(plugins|workers)\//.test(url)), [])
  t.equal(manifest('race/package.json').version, manifest('package.json').version)
})
