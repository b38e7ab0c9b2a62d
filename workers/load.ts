/** Loads the jobs of a pool in a worker thread, and the functions behind their names. */
import { isAbsolute } from 'node:path'
import { pathToFileURL } from 'node:url'
import { collectJobs, type JobFunction, type Jobs } from './jobs.ts'
import { describe } from './wire-error.ts'

function invalid (message: string, cause?: unknown): Error {
  return Object.assign(new Error(message, { cause }), { code: 'FC_ERR_JOBS_INVALID' })
}

/** On Node 20 a loader that a command like tsx sets up doesn't reach threads, and Node's own words don't say so. */
function hint (error: unknown): string {
  const isUnread = error instanceof Error && /^Unknown file extension "\.[cm]?tsx?"/.test(error.message)
  return isUnread
    ? ', which has no loader for TypeScript: see docs/typescript-and-bundlers.md of fastify-concurrency'
    : ''
}

function sameNames (jobs: Jobs, names: readonly string[]): boolean {
  const found = Object.keys(jobs.definitions)
  return found.length === names.length && found.every((name, index) => name === names[index])
}

/** Imports the module that defines the jobs and returns the definition with exactly these names. */
export async function loadJobs (url: string, names: readonly string[]): Promise<Jobs> {
  const module = isAbsolute(url) ? pathToFileURL(url).href : url
  let defined: Jobs[]
  try {
    defined = await collectJobs(() => import(module))
  } catch (error) {
    throw invalid(`The jobs file ${url} can't be imported in a worker thread${hint(error)}`, error)
  }
  let matching = defined.filter((jobs) => sameNames(jobs, names))
  if (matching.length > 1) matching = matching.filter((jobs) => jobs.url === url)
  if (matching.length === 1) return matching[0] as Jobs
  throw invalid(matching.length === 0
    ? `${url} defines no jobs named ${names.join(', ')} when a worker thread imports it: call defineJobs at its top level, with its own URL`
    : `${url} defines the jobs ${names.join(', ')} twice: a thread can't tell which are meant`)
}

/** Imports one job. */
export async function loadJob (jobs: Jobs, name: string): Promise<JobFunction> {
  let module: unknown
  try {
    module = await jobs.definitions[name]?.load()
  } catch (error) {
    throw invalid(`The job "${name}" can't be loaded`, error)
  }
  // A CommonJS module imported by ESM has its own default export one level further down.
  for (let value = module, depth = 0; depth < 3; depth++) {
    if (typeof value === 'function') return value as JobFunction
    if (typeof value !== 'object' || value === null || !('default' in value)) break
    value = value.default
  }
  const keys = typeof module === 'object' && module !== null
    ? Object.keys(module).join(', ') || 'nothing'
    : describe(module)
  throw invalid(
    `The job "${name}" isn't a function: load() must give a function or a module whose default export is one, and gave ${keys}`)
}
