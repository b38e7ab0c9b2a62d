/**
 * What the limiter and tasks share of Redis and Valkey: the suite's policy for connections, and how a script is called.
 *
 * A caller who waits for Redis is answered within a bound: the connection keeps no queue while Redis is away. The suite closes the connections
 * that it has opened itself. A client that the application has passed stays open, and the application's to close.
 */
import { createHash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { OptionInvalidError } from './shared/errors.ts'
import { logSafely } from './shared/log.ts'
import { within } from './shared/within.ts'

/** How long a boot waits for the first connection, in ms. The service boots without Redis, too. */
export const FIRST_CONNECTION_TIMEOUT_MS = 1_000

/** What is used of a `Redis` or `Cluster` of ioredis or iovalkey. No type of these packages is imported, because each is optional. */
export interface IoRedis {
  status: string
  readonly isCluster?: boolean
  readonly options?: { readonly keyPrefix?: unknown }
  duplicate (...args: never[]): IoRedis
  on (event: string, listener: (...args: never[]) => void): unknown
  once (event: string, listener: (...args: never[]) => void): unknown
  connect (): Promise<unknown>
  disconnect (): void
  evalsha (sha: string, keys: number, ...args: string[]): Promise<unknown>
  eval (script: string, keys: number, ...args: string[]): Promise<unknown>
  info (): Promise<string>
  config (subcommand: 'GET', name: string): Promise<unknown>
  publish (channel: string, message: string): Promise<unknown>
  subscribe (channel: string): Promise<unknown>
  hincrby (key: string, field: string, by: number): Promise<number>
  hdel (key: string, field: string): Promise<unknown>
  zrem (key: string, member: string): Promise<number>
  zscore (key: string, member: string): Promise<string | null>
  zrange (key: string, start: number, stop: number, withScores: 'WITHSCORES'): Promise<string[]>
  zcount (key: string, min: string | number, max: string | number): Promise<number>
  hmget (key: string, ...fields: string[]): Promise<Array<string | null>>
  xrevrange (key: string, end: string, start: string, count: 'COUNT', limit: number): Promise<Array<[id: string, fields: string[]]>>
}

/** Calls a script by its text (`EVAL`) or by its digest (`EVALSHA`). */
export type CallScript =
  (command: 'EVAL' | 'EVALSHA', script: string, keys: string[], args: string[]) => Promise<unknown>

/** A script that a server keeps, so that it is called by its digest. */
export class Script {
  readonly #text: string
  readonly #digest: string

  constructor (text: string) {
    this.#text = text
    this.#digest = createHash('sha1').update(text).digest('hex')
  }

  /** A server forgets its scripts when it restarts, or when an operator flushes them: then the text is sent again. */
  async run (call: CallScript, keys: string[], args: string[]): Promise<unknown> {
    try {
      return await call('EVALSHA', this.#digest, keys, args)
    } catch (error) {
      // GLIDE writes NoScriptError in the middle of its message.
      if (!(error instanceof Error) || !/^NOSCRIPT|NoScriptError/.test(error.message)) throw error
      return await call('EVAL', this.#text, keys, args)
    }
  }
}

/** Calls scripts through a client of ioredis or iovalkey. */
export function callThrough (client: Pick<IoRedis, 'eval' | 'evalsha'>): CallScript {
  return (command, script, keys, args) => client[command === 'EVAL' ? 'eval' : 'evalsha'](script, keys.length, ...keys, ...args)
}

/** After a failover, a connection may lead to a server that has become a replica, and would refuse all that is written. A new connection leads to the master. */
export const reconnectToMaster = (err: Error): boolean => err.message.startsWith('READONLY')

/** Tries again soon: after an outage of seconds, the process is back within a second. */
export const reconnectSoon = (times: number): number => Math.min(times * 50, 1_000)

/** ioredis keeps the process alive for this long, in ms, after a disconnect() whose connection has ended already. Its default is 2 s. */
export const endSoon = { disconnectTimeout: 200 }

/** The options of a connection for callers who wait: a command fails at once while Redis is away. */
export const failFast = {
  ...endSoon,
  enableOfflineQueue: false,
  maxRetriesPerRequest: 1,
  connectTimeout: 5_000,
  retryStrategy: reconnectSoon,
  reconnectOnError: reconnectToMaster
}

/** Throws FC_ERR_OPTION_INVALID, without the text: wherever it is mistyped, it may hold a password. */
export function checkRedisUrl (option: string, url: string): void {
  if (/^rediss?:\/\//.test(url) && URL.canParse(url)) return
  throw new OptionInvalidError(option, 'a URL that begins with redis:// or rediss://, or a constructed client of ioredis', `${url.length} characters that are no such URL, and may hold a password`)
}

/**
 * Opens a connection that is closed after everything else of the app. Register it before the plugins that use it.
 *
 * @throws FC_ERR_OPTION_INVALID if the text is no URL, or ioredis isn't installed
 */
export async function openRedis (app: FastifyInstance, option: string, url: string): Promise<IoRedis> {
  checkRedisUrl(option, url)
  const { Redis } = await import('ioredis').catch((cause: unknown) => {
    throw new OptionInvalidError(option, 'the package ioredis to be installed (npm install ioredis)', String(cause))
  })
  const client = new Redis(url, failFast) as unknown as IoRedis
  client.on('error', (err: Error) => logSafely(app.log, 'debug', { err }, 'Redis'))
  app.addHook('onClose', async () => client.disconnect())
  await within(FIRST_CONNECTION_TIMEOUT_MS, ready(client))
  return client
}

/** Resolves when the connection is usable. */
export async function ready (client: IoRedis): Promise<void> {
  if (client.status !== 'ready') await new Promise<void>((resolve) => { client.once('ready', resolve) })
}

/** Rejects after `timeout` ms. The command may still be carried out later. */
export async function answered<T> (operation: T | Promise<T>, timeout: number): Promise<T> {
  let result: { value: T } | undefined
  await within(timeout, Promise.resolve(operation).then((value) => { result = { value } }))
  if (result === undefined) throw new Error(`The store took longer than ${timeout} ms`)
  return result.value
}
