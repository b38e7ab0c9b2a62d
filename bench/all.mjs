/** Every benchmark, one after the other, saved with `--save`. Exits with 1 if one can't run. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const NAMES = ['dispatch', 'admission', 'cancel', 'start', 'ambient', 'refusal', 'burst', 'mixed', 'fairness', 'soak', 'payloads', 'leavers', 'overload']

for (const name of NAMES) {
  const { status } = spawnSync(process.execPath, [fileURLToPath(new URL(`${name}.mjs`, import.meta.url)), ...process.argv.slice(2)], { stdio: 'inherit' })
  if (status !== 0) process.exitCode = 1
  console.log()
}
