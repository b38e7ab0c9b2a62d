import t from 'tap'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execArgv } from '../helper.ts'

const fixture = fileURLToPath(new URL('../fixtures/ended-server.ts', import.meta.url))

/** Runs the service with its log in a pipe or in a file. Returns what it wrote. */
async function logOf (end: string, file?: string): Promise<string> {
  const fd = file === undefined ? 'pipe' : openSync(file, 'w')
  const child = spawn(process.execPath, [...execArgv, fixture, end], { stdio: ['ignore', fd, 'inherit'] })
  let text = ''
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => { text += chunk })
  await once(child, 'close')
  if (typeof fd === 'number') closeSync(fd)
  return file === undefined ? text : readFileSync(file, 'utf8')
}

for (const end of ['delay', 'signal', 'hook']) {
  for (const where of ['a pipe', 'a file']) {
    t.test(`what a process leaves unfinished at its end (${end}) is named in its log, which is ${where}`, async (t) => {
      const text = await logOf(end, where === 'a file' ? join(t.testdir(), 'log') : undefined)
      const line = text.split('\n').find((each) => each.includes('unfinished'))
      t.match(JSON.parse(line ?? 'null'), { level: 50, shutdown: { unfinished: [{ kind: 'task', id: 'order:1' }] } })
    })
  }
}
