/** The hooks of `module.register()`, on the thread where Node 20 runs them. */
import { fileURLToPath } from 'node:url'
import type { LoadHook } from 'node:module'
import type { MessagePort } from 'node:worker_threads'
import { isUsers, transform } from './transform.ts'

let port: MessagePort | undefined

export function initialize (data: { port: MessagePort }): void {
  port = data.port
}

export const load: LoadHook = async (url, context, nextLoad) => {
  const result = await nextLoad(url, context)
  if (!url.startsWith('file:') || result.source === null || result.source === undefined) return result
  const file = fileURLToPath(url.replace(/\?.*/, ''))
  if (!isUsers(file) || !['module', 'module-typescript'].includes(String(result.format))) return result
  const rewritten = transform(file, typeof result.source === 'string' ? result.source : new TextDecoder().decode(result.source))
  port?.postMessage(rewritten)
  return rewritten === undefined ? result : { ...result, source: rewritten.text }
}
