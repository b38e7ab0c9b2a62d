/**
 * Processes says in Redis that this process consumes tasks, and which. A process that is frozen or was killed is known
 * by its silence. Times are of the clock of Redis, since clocks of machines differ.
 */
import type { FastifyBaseLogger } from 'fastify'
import { randomUUID } from 'node:crypto'
import type { IoRedis } from '../../../redis.ts'
import { logSafely } from '../../../shared/log.ts'
import { processName } from '../../../process-name.ts'
import type { ConsumingProcess } from '../../named/operations.ts'

const BEAT_MS = 5_000
/** A process that was not seen for so long, in ms, is frozen or gone. */
export const SILENT_MS = 3 * BEAT_MS
/** How long a process that was killed is remembered, in ms. */
const KEPT_MS = 3_600_000
/** The most processes that Redis keeps and that one answer holds: those that were seen last. */
const MAX_PROCESSES = 200

const NOW = "local time = redis.call('TIME') local now = time[1] * 1000 + math.floor(time[2] / 1000)"

const BEAT = `${NOW}
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ${KEPT_MS})
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, ${-MAX_PROCESSES - 1})
redis.call('PEXPIRE', KEYS[1], ${KEPT_MS})`

const READ = `${NOW}
return { now, redis.call('ZREVRANGE', KEYS[1], 0, ${MAX_PROCESSES - 1}, 'WITHSCORES') }`

export class Processes {
  readonly #redis: IoRedis
  readonly #key: string
  readonly #consumer: { names: readonly string[], concurrency: number }
  readonly #log: FastifyBaseLogger
  /** What this process says of itself. The UUID tells processes of the same name apart. */
  #self: string | undefined
  #timer: NodeJS.Timeout | undefined

  /** @param consumer the names that this process consumes, and how many tasks of each it runs at once */
  constructor (redis: IoRedis, prefix: string, consumer: { names: readonly string[], concurrency: number },
    log: FastifyBaseLogger) {
    this.#redis = redis
    this.#key = `${prefix}:tasks:processes`
    this.#consumer = consumer
    this.#log = log
  }

  /** This process begins to consume tasks. */
  join (): void {
    const { names: consumes, concurrency } = this.#consumer
    if (consumes.length === 0) return
    this.#self = JSON.stringify({ name: processName, consumes, concurrency, startedAt: Date.now(), uuid: randomUUID() })
    this.#timer = setInterval(() => this.#beat(), BEAT_MS).unref()
    this.#beat()
  }

  /** This process ends. One that Redis isn't told of stays as a process that was not seen for a while. */
  async leave (): Promise<void> {
    clearInterval(this.#timer)
    if (this.#self === undefined) return
    await this.#redis.zrem(this.#key, this.#self).catch((err: unknown) => this.#debug(err))
    this.#self = undefined
  }

  /** Resolves to the processes that consume tasks, those that were seen last first. */
  async read (): Promise<ConsumingProcess[]> {
    const [now, found] = await this.#redis.eval(READ, 1, this.#key) as [number, string[]]
    return found.flatMap((text, index) => index % 2 === 0 ? processOf(text, now - Number(found[index + 1])) : [])
  }

  #beat (): void {
    this.#redis.eval(BEAT, 1, this.#key, this.#self as string).catch((err: unknown) => this.#debug(err))
  }

  #debug (err: unknown): void {
    logSafely(this.#log, 'debug', { err }, 'tasks: Redis was not told that this process consumes tasks')
  }
}

function processOf (member: string, age: number): ConsumingProcess {
  const { name, consumes, concurrency, startedAt } = JSON.parse(member) as ConsumingProcess
  return { name, consumes, concurrency, startedAt, seenMs: Math.max(0, age) }
}
