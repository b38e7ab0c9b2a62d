// Starts a service of the docs on any free port, prints what it answers at a path, ends it with SIGTERM, and exits with its exit code.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const [, , file, path] = process.argv
const anyPort = new URL('../docs/any-port.mjs', import.meta.url).href
const service = fork(file, { execArgv: ['--no-warnings', '--import', anyPort] })
const [{ port }] = await once(service, 'message')
const response = await fetch(`http://localhost:${port}${path}`)
console.log(await response.text())
service.kill('SIGTERM')
const [code] = await once(service, 'exit')
// Windows has no signals: there, kill() ends the process as it is.
process.exitCode = process.platform === 'win32' ? 0 : code ?? 1
