/**
 * Looks for races in an application that knows nothing of it: `RACE=1 node --import fastify-concurrency-race/register app.js`.
 * Makes each Fastify instance's requests contexts, and rewrites the user's own modules when they are loaded. Does nothing without RACE=1.
 */
import module from 'node:module'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isMainThread, MessageChannel } from 'node:worker_threads'
import type { FastifyInstance } from 'fastify'
import { RaceUnreadableError } from '../errors.ts'
import { start, trackInstances } from '../contexts.ts'
import { isForked } from '../environment.ts'
import { patchBuiltIns } from '../explore/patches.ts'
import { patchIdentity } from './identity.ts'
import { hasReadAny, learnFrom, noteRead } from './rewritten.ts'
import { GLOBAL, runtime } from './runtime.ts'
import { isUsers, transform } from './transform.ts'

/** What Node's types for version 20 don't have. */
interface Hooked {
  registerHooks?: (hooks: { load: (url: string, context: object, nextLoad: (url: string, context: object) => Loaded) => Loaded }) => void
}
interface Loaded { format?: string, source?: string | ArrayBuffer | Uint8Array | null }

function compiled (file: string, source: string | undefined): string | undefined {
  const rewritten = transform(file, source)
  noteRead(rewritten)
  return rewritten?.text
}

/** Node 22.15 and later: one hook for import and require, for what isn't compiled by others. */
function hookAll (registerHooks: NonNullable<Hooked['registerHooks']>): void {
  registerHooks({
    load (url, context, nextLoad) {
      const result = nextLoad(url, context)
      if (!url.startsWith('file:') || !/^(?:module|commonjs)(?:-typescript)?$/.test(result.format ?? '')) return result
      const file = fileURLToPath(url.replace(/\?.*/, ''))
      if (!isUsers(file)) return result
      const { source } = result
      const text = compiled(file, source === null || source === undefined ? undefined : typeof source === 'string' ? source : new TextDecoder().decode(source))
      return text === undefined ? result : { ...result, source: text }
    }
  })
}

/** Node 20: hooks for import, on a thread of their own. */
function hookImports (): void {
  const { port1, port2 } = new MessageChannel()
  learnFrom(port1)
  module.register(new URL(`./hooks${extname(import.meta.url)}`, import.meta.url), { data: { port: port2 }, transferList: [port2] })
}

/** The compilation of CommonJS modules. On Node 22 too: tsx and others read the file that they compile by themselves, whatever a hook returns. */
function hookCompilation (): void {
  const { prototype } = module.Module as unknown as { prototype: { _compile: (content: string, file: string, ...rest: unknown[]) => unknown } }
  const { _compile: compile } = prototype
  prototype._compile = function (content, file, ...rest) {
    return compile.call(this, isUsers(file) && !content.includes(GLOBAL) ? compiled(file, content) ?? content : content, file, ...rest)
  }
}

/** Says that an application is not looked at, once it is ready: its modules were loaded in a way that no hook sees. */
function sayUnread (app: FastifyInstance): void {
  app.addHook('onReady', async () => {
    if (isForked()) throw new RaceUnreadableError('vitest and jest load modules in a way of their own. Leave race/register out, and mark the state that requests share with shared(), see the README of fastify-concurrency-race')
    if (!hasReadAny()) process.emitWarning(new RaceUnreadableError('no module was loaded by import or require after race/register, on the main thread').message)
  })
}

const isStarted = start()
if (isStarted) trackInstances(sayUnread)

// Requests are handled on the main thread; jobs are loaded as they are.
if (isStarted && isMainThread) {
  // Now, before a CommonJS module takes a function out of a built-in for good.
  patchBuiltIns()
  Object.assign(globalThis, { [GLOBAL]: runtime })
  patchIdentity()
  const { registerHooks } = module as Hooked
  if (registerHooks === undefined) hookImports()
  else hookAll(registerHooks)
  hookCompilation()
}
