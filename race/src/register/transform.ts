/** Decides which modules are the user's own, and rewrites them. */
import { readFileSync } from 'node:fs'
import { dirname, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isPackaged } from '../paths.ts'
import { loadParser } from '../source/parse.ts'
import { mapComment, mapOf } from './maps.ts'
import { rewrite } from './rewrite.ts'
import type { Rewritten } from './rewritten.ts'

/** The detector itself, which is not in node_modules where it is a workspace. */
const own = `${dirname(dirname(fileURLToPath(import.meta.url)))}${sep}`

export function isUsers (file: string): boolean {
  return !isPackaged(file) && !file.startsWith(own) && /\.[cm]?[jt]sx?$/.test(file)
}

/** Returns undefined if the module is to run as it is. @param given its source, which is read if it isn't given */
export function transform (file: string, given?: string): Rewritten | undefined {
  try {
    const ts = loadParser()
    if (ts === null) return undefined
    const source = given ?? readFileSync(file, 'utf8')
    // A compiler was here before us: positions go through its map.
    const found = mapOf(file, source)
    // Compiled TypeScript may have the name of its source, and is JavaScript, which TypeScript reads too.
    const rewritten = rewrite(ts, file, source)
    if (found === undefined) return rewritten && { file, ...rewritten, map: undefined }
    const { map, comment } = found
    // With nothing to track in it, the module is noted for its places.
    if (rewritten === undefined) return { file, text: source, edits: [], map }
    const { text, edits } = rewritten
    const at = text.lastIndexOf(comment)
    return { file, text: `${text.slice(0, at)}${mapComment(map, source, text, edits)}${text.slice(at + comment.length)}`, edits, map }
  } catch (error) {
    process.emitWarning(`the race detector can't rewrite ${file}, which runs as it is: ${String(error)}`)
    return undefined
  }
}
