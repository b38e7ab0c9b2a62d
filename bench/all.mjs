/** Runs every benchmark in turn; `--save` is passed on to each. The exit code is 1 if a benchmark can't run. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const NAMES = [
  'dispatch', 'admission', 'cancel', 'start', 'ambient', 'refusal', 'fair', 'loop', 'soak', 'payloads', 'leavers', 'metrics', 'dashboards', 'tracing',
  'main-thread', 'overload'
]

for (const name of NAMES) {
  const { status } = spawnSync(process.execPath, [fileURLToPath(new URL(`${name}.mjs`, import.meta.url)), ...process.argv.slice(2)], { stdio: 'inherit' })
  if (status !== 0) process.exitCode = 1
  console.log()
}
