// Preloaded into each test file: tap, the TypeScript loader, and an end to what tap adds to the processes and threads that a test starts.
import { createRequire } from 'node:module'

// Before the loader: on Node 20, each of tap's hundred modules would otherwise be asked for from the thread of the loader. Not in the processes and
// threads that a test starts: there, tap would take the channel to the parent for its own.
if (process.argv[1]?.endsWith('.test.ts')) await import('tap')
await import('../loader/typescript.js')

// tap would load its own compiler here, and has been kept from it (package.json).
delete process.env.TAP_TYPE_STRIP_ONLY
// tap makes each child process and thread report which files it loads, for coverage, which we don't measure: 60 ms each.
const require = createRequire(createRequire(import.meta.url).resolve('@tapjs/core'))
createRequire(require.resolve('@tapjs/processinfo'))('process-on-spawn').removeAllListeners()
delete process.env.NODE_OPTIONS
