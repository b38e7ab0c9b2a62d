// The programs of plain/: applications that know no detector, each the twin of a program of the corpus, with the same routes.
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { FastifyInstance } from 'fastify'
import type { Program } from './program.ts'

/** The files of plain/, and the names of the programs whose requests and invariants hold for them. */
const TWINS: Record<string, string> = {
  'cooldown.ts': 'bugs/cooldown/racy',
  'double-load.ts': 'bugs/double-load/racy',
  'flag.js': 'bugs/flag/racy',
  'go-append.ts': 'bugs/go-append/racy',
  'go-counter.js': 'bugs/go-counter/racy',
  'go-lazy-init.cjs': 'bugs/go-lazy-init/racy',
  'iteration.js': 'bugs/iteration/racy',
  'plugin-variable.cjs': 'bugs/plugin-variable/racy',
  'presence.cjs': 'unseen/presence/racy',
  'third-player.js': 'bugs/third-player/racy',
  'token-refresh.ts': 'bugs/token-refresh/racy',
  'copy-on-write.ts': 'clean/copy-on-write',
  'gauge.cjs': 'clean/gauge',
  'guarded-flag.ts': 'clean/guarded-flag',
  'memoized-promise.js': 'clean/memoized-promise',
  'synchronous-claim.cjs': 'clean/synchronous-claim',
  'version-retry.js': 'clean/version-retry'
}

/** An application of plain/. */
export interface Plain {
  /** The name of the file in plain/. */
  file: string
  /** Whether the application has a race. */
  racy: boolean
  /** The program whose requests and invariant hold for the application. */
  twin: Program
  /** Loads the module again, so that its state is new, and returns its application. */
  build (): Promise<FastifyInstance>
}

interface Module { build (): FastifyInstance | Promise<FastifyInstance> }

const require = createRequire(import.meta.url)
let loads = 0

async function load (file: string): Promise<Module> {
  const url = new URL(`plain/${file}`, import.meta.url)
  if (!file.endsWith('.cjs')) return await import(`${url.href}?load=${++loads}`) as Module
  delete require.cache[fileURLToPath(url)]
  return require(fileURLToPath(url)) as Module
}

/** Loads the program of a name: `bugs/cooldown/racy` is `racy` of bugs/cooldown.ts, `clean/gauge` is `program` of clean/gauge.ts. */
async function programOf (name: string): Promise<Program> {
  const [folder, file, half = 'program'] = name.split('/')
  const programs = await import(new URL(`${folder}/${file}.ts`, import.meta.url).href) as Record<string, Program>
  return programs[half]!
}

/** Returns an application of plain/. */
export async function plainProgram (file: string): Promise<Plain> {
  const name = TWINS[file]
  if (name === undefined) throw new Error(`Expected the name of a file in plain/, got ${file}`)
  return { file, racy: name.endsWith('/racy'), twin: await programOf(name), build: async () => (await load(file)).build() }
}

/** Returns all applications of plain/. */
export const plainPrograms = async (): Promise<Plain[]> => Promise.all(Object.keys(TWINS).map(plainProgram))
