// The rules of docs/alerts.yml, run by promtool on the series of alerts.yml beside this file.
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { root } from '../compiler.ts'

const run = promisify(execFile)
const series = join(root, 'test/metrics/alerts.yml')

/** A reason to skip; a failure instead where FC_REQUIRE_ALL=1 says that nothing may be skipped. */
async function noPromtool (): Promise<string | false> {
  const isThere = await run('promtool', ['--version']).then(() => true, () => false)
  if (isThere) return false
  if (process.env['FC_REQUIRE_ALL'] === '1') throw new Error('promtool was not found, and FC_REQUIRE_ALL=1 forbids to skip')
  return 'promtool was not found: install prometheus to run this test'
}

t.test('each rule has a test in which it fires', async (t) => {
  const rules = [...readFileSync(join(root, 'docs/alerts.yml'), 'utf8').matchAll(/alert: (\w+)/g)].map(([, name]) => name)
  const fired = [...readFileSync(series, 'utf8').matchAll(/alertname: (\w+), exp_alerts: \[\{/g)].map(([, name]) => name)
  t.strictSame([...new Set(fired)].sort(), rules.sort())
})

t.test('each rule fires when it must, and only then', { skip: await noPromtool() }, async (t) => {
  const { stdout } = await run('promtool', ['test', 'rules', series]).catch((error: { stdout: string }) => error)
  t.match(stdout, /SUCCESS/, stdout)
  t.notMatch(stdout, /FAILED/)
})
