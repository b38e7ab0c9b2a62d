/** Node options as threads can take them. */
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { ThreadSettings } from './piscina.ts'

/** Node options whose value is a module that a thread loads before all others: a path, or what `import` takes. */
const REQUIRES = new Set(['-r', '--require'])
const IMPORTS = new Set(['--import', '--loader', '--experimental-loader'])

/**
 * Makes relative preloads absolute. Node looks them up from the working directory each time a thread starts, and the
 * application may have left that directory by then.
 */
export function absolutePreloads (execArgv: readonly string[], directory: string): string[] {
  const absolute = (option: string, module: string): string => {
    if (!/^\.\.?[/\\]/.test(module)) return module
    if (REQUIRES.has(option)) return resolve(directory, module)
    return IMPORTS.has(option) ? pathToFileURL(resolve(directory, module)).href : module
  }
  return execArgv.map((argument, index) => {
    const equals = argument.indexOf('=')
    if (equals === -1) return absolute(execArgv[index - 1] ?? '', argument)
    const option = argument.slice(0, equals)
    return `${option}=${absolute(option, argument.slice(equals + 1))}`
  })
}

/**
 * Returns the settings without the options that Node refused, which its message names. If it names none, threads
 * inherit the process's options unchanged.
 */
export function withoutRefused ({ execArgv = [], ...settings }: ThreadSettings, { message }: Error): ThreadSettings {
  const refused = new Set(message.replace(/^[^:]*: /, '').split(', '))
  const kept = execArgv.filter((argument) => !refused.has(argument))
  return kept.length < execArgv.length ? { ...settings, execArgv: kept } : settings
}
