/** The adapters on clients of Redis and Valkey. The clients differ only in how they call a script. This is the only file that knows them. */
import { callThrough, type CallScript } from '../../redis.ts'
import { ensure } from '../../shared/options.ts'

/** What is used of a `Redis` or `Cluster` of ioredis or iovalkey. */
export interface IoRedisClient {
  evalsha (sha: string, keys: number, ...args: string[]): Promise<unknown>
  eval (script: string, keys: number, ...args: string[]): Promise<unknown>
}

/** What is used of a client of node-redis (the package `redis`): `createClient()`, `createClientPool()` or `createCluster()`. */
export interface NodeRedisClient {
  evalSha (sha: string, options: { keys: string[], arguments: string[] }): Promise<unknown>
  eval (script: string, options: { keys: string[], arguments: string[] }): Promise<unknown>
}

/** What is used of a `GlideClient` or `GlideClusterClient` of Valkey GLIDE. */
export interface GlideClient {
  customCommand (command: string[]): Promise<unknown>
}

/** A connected client. No type of a client's package is imported, because each of the packages is optional. */
export type RedisClient = IoRedisClient | NodeRedisClient | GlideClient

/** Returns what calls scripts through the client. Throws FC_ERR_OPTION_INVALID for what is no client. */
export function adapt (option: string, client: RedisClient): CallScript {
  const isClient = typeof client === 'object' && client !== null && ['evalsha', 'evalSha', 'customCommand'].some((method) => method in client)
  ensure(isClient, option, 'a constructed client of ioredis, iovalkey, redis or @valkey/valkey-glide', client)
  if ('customCommand' in client) {
    return (command, script, keys, args) => {
      return client.customCommand([command, script, String(keys.length), ...keys, ...args])
    }
  }
  if ('evalSha' in client) {
    return (command, script, keys, args) => {
      return client[command === 'EVAL' ? 'eval' : 'evalSha'](script, { keys, arguments: args })
    }
  }
  return callThrough(client)
}
