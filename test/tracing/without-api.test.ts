// An application without @opentelemetry/api: it boots, its traced jobs run, and it is told what to install only if it registers the tracing.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { root } from '../compiler.ts'
import { execArgv } from '../helper.ts'

/** A preload for this process and its threads, in which the package can't be found. */
const missing = `data:text/javascript,${encodeURIComponent(`
  import { register } from 'node:module'
  register('data:text/javascript,' + encodeURIComponent(\`
    export async function resolve (specifier, context, next) {
      if (!specifier.startsWith('@opentelemetry/')) return next(specifier, context)
      throw Object.assign(new Error("Cannot find package '" + specifier + "'"), { code: 'ERR_MODULE_NOT_FOUND' })
    }\`))
`)}`

async function run (what: string): Promise<unknown> {
  const { stdout } = await promisify(execFile)(process.execPath, [...execArgv, '--import', missing, join(root, 'test/fixtures/without-otel.ts'), what])
  return JSON.parse(stdout) as unknown
}

t.test('the boot of the tracing says what to install', async (t) => {
  for (const what of ['plugin', 'suite']) {
    t.match(await run(what), { code: 'FC_ERR_OPTION_INVALID', message: /Option "tracing": expected the package @opentelemetry\/api to be installed \(npm install @opentelemetry\/api\)/ }, what)
  }
})

t.test('the suite without the tracing never asks for the package', async (t) => {
  t.strictSame(await run('untraced'), { job: 1, task: 2 })
})

t.test('a job that another tracer traces runs in a thread that has no such package', async (t) => {
  t.strictSame(await run('carried'), { job: 1 })
})
