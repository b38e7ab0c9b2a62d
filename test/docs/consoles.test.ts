// Each console block of README.md and docs/ does what it shows.
import { execFile, fork, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { root } from '../compiler.ts'
import { readPages, writePage, type Command } from './pages.ts'

// Below the root, so that the package finds itself by its own name.
const folder = t.testdir()
t.setTimeout(600_000)
const run = promisify(execFile)
const execArgv = ['--conditions=fastify-concurrency-source', '--import', join(root, 'loader/typescript.js'), '--import', join(root, 'test/docs/any-port.mjs')]

for (const page of readPages()) {
  for (const { line, commands } of page.consoles) {
    t.test(`the console block of ${page.name}, line ${line}, does what it shows`, async (t) => {
      await replay(t, writePage(folder, page), commands)
    })
  }
}

async function replay (t: Test, cwd: string, commands: readonly Command[]): Promise<void> {
  let server: ChildProcess | undefined
  let background: Promise<string> | undefined
  let port = 0
  t.teardown(() => server?.kill('SIGKILL'))
  for (const { command, output } of commands) {
    let shown: string
    const [program, file = ''] = command.split(' ')
    if (program === 'node' && command.endsWith(' &')) {
      server = start(join(cwd, file), cwd)
      const [message] = await Promise.race([once(server, 'message'), exited(server)]) as [{ port: number }]
      port = message.port
      continue
    } else if (program === 'node') {
      // As on a terminal, on each Node.
      const reporter = '--test-reporter=spec'
      shown = (await run(process.execPath, [...execArgv, reporter, join(cwd, file)], { cwd, timeout: 60_000 })).stdout
    } else if (program === 'curl') {
      const child = spawn('sh', ['-c', command.replace(/ &$/, '').replaceAll('localhost:3000', `localhost:${port}`).replace('curl', 'curl --silent --show-error')], { cwd, timeout: 60_000 })
      const text = textOf(child)
      if (command.endsWith(' &')) {
        background = text
        await once(child.stdout, 'data')
        continue
      }
      shown = await text
    } else if (command === 'wait %2' && background !== undefined) {
      shown = await background
    } else if (command === 'kill %1' && server !== undefined) {
      const exit = once(server, 'exit')
      server.kill('SIGTERM')
      const [code] = await exit as [number | null]
      t.equal(code, 0, 'the server ends by itself')
      continue
    } else {
      throw new Error(`A console block can't run: ${command}`)
    }
    if (output !== '') t.match(shown.replaceAll('\r', '').replaceAll(`localhost:${port}`, 'localhost:3000').trim(), pattern(output), command)
  }
}

function start (file: string, cwd: string): ChildProcess {
  const server = fork(file, { cwd, execArgv, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] })
  server.stdout?.resume()
  return server
}

async function textOf (child: ChildProcess): Promise<string> {
  let text = ''
  child.stdout?.on('data', (chunk) => { text += String(chunk) })
  const [code] = await once(child, 'close') as [number | null]
  if (code !== 0) throw new Error(`${child.spawnargs.join(' ')} has ended with ${code}`)
  return text
}

async function exited (server: ChildProcess): Promise<never> {
  let errors = ''
  server.stderr?.on('data', (chunk) => { errors += String(chunk) })
  await once(server, 'exit')
  throw new Error(`the server ended:\n${errors}`)
}

function pattern (output: string): RegExp {
  return new RegExp(`^${output.split('…').map((text) => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')).join('[^]*')}$`)
}
