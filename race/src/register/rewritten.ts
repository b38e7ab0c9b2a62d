/** Sources that were rewritten: what runs in place of a file, and how positions in it lead back to the file. */
import { receiveMessageOnPort, type MessagePort } from 'node:worker_threads'
import type { Edit } from './edits.ts'
import { sourceIn, type ModuleMap, type Place } from './maps.ts'

export interface Rewritten {
  readonly file: string
  /** What runs. */
  readonly text: string
  readonly edits: readonly Edit[]
  /** The source map of what was rewritten, if a compiler had made it. What runs has one of its own then. */
  readonly map: ModuleMap | undefined
}

const all = new Map<string, Rewritten>()
const ports: MessagePort[] = []

let hasRead = false

/** Notes that a module was read, and what runs in place of it. */
export function noteRead (rewritten: Rewritten | undefined): void {
  hasRead = true
  if (rewritten !== undefined) remember(rewritten)
}

/** Whether a module of the user's own was read. */
export function hasReadAny (): boolean {
  receive()
  return hasRead
}

export function remember (rewritten: Rewritten): void {
  all.set(rewritten.file, rewritten)
}

/** Learns of files that another thread rewrites. */
export function learnFrom (port: MessagePort): void {
  port.unref()
  ports.push(port)
}

function receive (): void {
  for (const port of ports) {
    for (let received = receiveMessageOnPort(port); received !== undefined; received = receiveMessageOnPort(port)) noteRead(received.message as Rewritten | undefined)
  }
}

export function rewrittenOf (file: string): Rewritten | undefined {
  receive()
  return all.get(file)
}

/** Returns where a place of what runs is in the file that people see. Lines and columns count from 1. */
export function originOf (place: Place): Place {
  const rewritten = rewrittenOf(place.file)
  if (rewritten === undefined) return place
  const { file, line } = place
  let start = 0
  for (let at = 1; at < line; at++) start = rewritten.text.indexOf('\n', start) + 1
  // Edits are of the text before: what they added is taken off one by one, in order.
  let added = 0
  let addedBefore = 0
  const offset = start + place.column - 1
  for (const edit of rewritten.edits) {
    if (edit.start + added > offset) break
    const growth = edit.text.length - (edit.end - edit.start)
    added += Math.min(growth, offset - edit.start - added)
    if (edit.start + addedBefore < start) addedBefore = added
  }
  const column = Math.max(1, place.column - (added - addedBefore))
  const origin = { file, line, column }
  return rewritten.map === undefined ? origin : sourceIn(rewritten.map, origin) ?? origin
}
