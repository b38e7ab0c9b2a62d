/** What the environment asks of the detector, by variables that no application reads: RACE, RACE_LOG, RACE_SEED, RACE_HALT. */
import { appendFileSync } from 'node:fs'
import { resolve } from 'node:path'
import * as check from './check.ts'

const said = new Set<string>()

/** Warns of something once in a process. */
export function sayOnce (text: string): void {
  if (said.has(text)) return
  said.add(text)
  process.emitWarning(text)
}

/** Whether RACE asks for detection. An application may have a variable of this name for itself, so another value is no error. */
export function isRequested (): boolean {
  const value = (process.env['RACE'] ?? '').toLowerCase()
  if (['1', 'true'].includes(value)) return true
  if (!['', '0', 'false'].includes(value)) sayOnce(`RACE=${value} means nothing to the race detector, which is off: set RACE=1 to look for races`)
  return false
}

/** Whether RACE_HALT ends the process at the first confirmed race. */
export function isHalting (): boolean {
  return process.env['RACE_HALT'] === '1'
}

/** Returns the only seed that explore() is to try, if RACE_SEED names one. */
export function onlySeed (): number | undefined {
  const { RACE_SEED: seed = '' } = process.env
  return seed === '' ? undefined : check.integer('RACE_SEED', Number(seed), { min: 0 })
}

/**
 * Whether the exit code of this process is lost: vitest and jest run tests in processes and threads of their own, and look at no exit code. Both
 * load the modules of a test by means of their own, too.
 */
export function isForked (): boolean {
  return 'VITEST' in process.env || 'JEST_WORKER_ID' in process.env
}

/** RACE_LOG as it was when it was first read: an application may change its directory. */
let log: { readonly shown: string, readonly path: string } | undefined
let hasHeader = false

function logOf (): typeof log {
  const { RACE_LOG: shown = '' } = process.env
  if (shown === '') return undefined
  if (log?.shown !== shown) log = { shown, path: resolve(shown) }
  return log
}

/** @throws OptionInvalidError if reports can't be written where RACE_LOG says */
export function checkLog (): void {
  const file = logOf()
  if (file === undefined) return
  try {
    appendFileSync(file.path, '')
  } catch (error) {
    check.ensure(false, 'RACE_LOG', `a file that can be written (${String(error)})`, file.shown)
  }
}

/** Prints a report where RACE_LOG says, else on standard error. A report that can't be written to the file must not be lost. */
export function print (text: string): void {
  const file = logOf()
  if (file !== undefined) {
    try {
      // Many processes of a test run may write to one file.
      const header = hasHeader ? '' : `RACE: process ${process.pid}, ${process.argv.slice(1, 2).join() || 'without a script'}\n`
      appendFileSync(file.path, `${header}${text}\n`)
      hasHeader = true
      return
    } catch (error) {
      sayOnce(`the race detector can't write to RACE_LOG, and reports to standard error: ${String(error)}`)
    }
  }
  process.stderr.write(`${text}\n`)
}

/** Prints the last line of a process, on standard error too if the reports are in a file. */
export function conclude (text: string): void {
  print(text)
  const file = logOf()
  if (file !== undefined) process.stderr.write(`${text}, see ${file.shown}\n`)
}
