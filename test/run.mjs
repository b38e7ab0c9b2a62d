/**
 * Runs the test files, four at a time, each in a process of its own, and writes what they report as one TAP stream.
 * Without arguments: all files. Arguments that begin with `--` are options of Node for each of the processes.
 * `npm run tap -- FILE` runs one file with tap's command, which has more options.
 *
 * tap's command starts each process with a compiler, a loader for mocks and a recorder of coverage. This project uses
 * none of them, and they cost a second of processor time for each file.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const root = fileURLToPath(new URL('..', import.meta.url))
const { jobs, timeout, 'node-arg': nodeArgs } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).tap
const all = ['test', 'race/test'].flatMap((folder) => readdirSync(join(root, folder), { recursive: true })
  .filter((name) => name.endsWith('.test.ts')).sort().map((name) => join(folder, name)))
const options = process.argv.slice(2).filter((argument) => argument.startsWith('--'))
const named = process.argv.slice(2).filter((argument) => !argument.startsWith('--'))
/** Those that take minutes, because they wait. They start first: one that starts last would keep three lanes empty. */
const LONG = ['test/workers/threads/recovery.test.ts', 'test/example/dashboard.test.ts', 'test/tasks/bullmq/faults.test.ts', 'test/docs/blocks.test.ts']
const files = named.length > 0 ? named : [...LONG, ...all.filter((file) => !LONG.includes(file))]

t.jobs = jobs
t.setTimeout(0)
for (const file of files) {
  t.spawn(process.execPath, [...nodeArgs, ...options, file], {
    at: null,
    stack: '',
    buffered: true,
    cwd: root,
    env: { ...process.env, TAP_TIMEOUT: String(timeout) },
    name: file,
    timeout: timeout * 1_000
  })
}
