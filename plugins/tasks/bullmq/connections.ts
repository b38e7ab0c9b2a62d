/**
 * The connections of the engine: duplicates of the client that the application has passed. The client itself is never
 * used, and stays open.
 *
 * Callers who wait have a connection that fails fast. Workers have connections that wait for Redis as long as it takes,
 * since nobody waits for them.
 */
import type { FastifyBaseLogger } from 'fastify'
import { logSafely } from '../../shared/log.ts'
import {
  endSoon, failFast, FIRST_CONNECTION_TIMEOUT_MS, ready, reconnectSoon, reconnectToMaster, type IoRedis
} from '../../redis.ts'
import { within } from '../../shared/within.ts'

/**
 * Opens the connection anew if Redis has been silent for this long, in ms: a network may drop packets without ending a
 * connection.
 */
const SOCKET_TIMEOUT_MS = 5_000

/** The same for connections of workers and of listeners to events, whose reads block for up to 10 s. */
const BLOCKING_SOCKET_TIMEOUT_MS = 12_000

const patience = { maxRetriesPerRequest: null, enableOfflineQueue: true, socketTimeout: BLOCKING_SOCKET_TIMEOUT_MS }

/** What an application may have set for its own use, and what would break a connection of BullMQ. */
const neutral = {
  ...endSoon,
  lazyConnect: false,
  commandTimeout: undefined,
  retryStrategy: reconnectSoon,
  reconnectOnError: reconnectToMaster
}

/** The same for a cluster. A replica may not know yet what was just written. */
const neutralCluster = { lazyConnect: false, clusterRetryStrategy: reconnectSoon, scaleReads: 'master' }

export class Connections {
  readonly #given: IoRedis
  readonly #log: FastifyBaseLogger
  readonly #opened: IoRedis[] = []
  /** For callers who wait. */
  readonly commands: IoRedis
  #patient: IoRedis | undefined
  #isAway = false
  /** Why Redis is away, as far as the connection knows. */
  #reason: Error | undefined
  #isClosed = false
  #wasReady = false

  constructor (given: IoRedis, log: FastifyBaseLogger) {
    this.#given = given
    this.#log = log
    this.commands = this.#open({ ...failFast, socketTimeout: SOCKET_TIMEOUT_MS })
    this.commands.on('error', (err: Error) => { this.#reason = err })
    this.commands.on('close', () => this.#away())
    this.commands.on('ready', () => this.#back())
  }

  /** Resolves to whether Redis has answered. */
  async first (): Promise<boolean> {
    return await within(FIRST_CONNECTION_TIMEOUT_MS, ready(this.commands)) || (this.#away(), false)
  }

  /**
   * Waits for Redis as long as it takes: for Workers, which duplicate it for their blocking reads, and for listeners to
   * events.
   */
  get patient (): IoRedis {
    this.#patient ??= this.#open(patience)
    return this.#patient
  }

  /** Opens a connection that can do nothing but listen to what is published. */
  subscriber (): IoRedis {
    return this.#open(patience)
  }

  /** Whether Redis has been reached once. */
  get wasReady (): boolean { return this.#wasReady }

  /** Why callers can't ask Redis now; undefined if they can. */
  get trouble (): Error | undefined {
    return this.commands.status === 'ready'
      ? undefined
      : this.#reason ?? new Error(`The connection to Redis is ${this.commands.status}`)
  }

  close (): void {
    this.#isClosed = true
    for (const client of this.#opened.splice(0)) {
      // ioredis doesn't end a connection that waits to connect again: BullMQ would wait for its end and for its
      // commands, and run its timers on. A connection that waits for its first command is ended, and its commands are
      // rejected.
      if (client.status === 'reconnecting') client.status = 'wait'
      // A second disconnect() would keep the process alive for ioredis's disconnectTimeout.
      if (client.status !== 'end') client.disconnect()
    }
  }

  #open (options: object): IoRedis {
    const all = { ...neutral, ...options }
    // A Cluster takes its nodes first, and the options of connections in `redisOptions`.
    const client = this.#given.isCluster === true
      ? this.#given.duplicate(undefined as never,
        {
          ...neutralCluster,
          redisOptions: all,
          enableOfflineQueue: 'enableOfflineQueue' in options && options.enableOfflineQueue
        } as never)
      : this.#given.duplicate(all as never)
    client.on('error', (err: Error) => logSafely(this.#log, 'debug', { err }, 'tasks: Redis'))
    return this.#keep(client)
  }

  /** Keeps the connection, and those that BullMQ makes of it, to close them whatever state BullMQ is in. */
  #keep (client: IoRedis): IoRedis {
    this.#opened.push(client)
    const duplicate = client.duplicate.bind(client)
    client.duplicate = (...args) => this.#keep(duplicate(...args))
    // BullMQ may be in the middle of connecting again, which nothing that it offers ends: an app that closes while
    // Redis is away would never end.
    const connect = client.connect.bind(client)
    client.connect = async () => {
      if (this.#isClosed) throw new Error('Connection is closed.')
      return await connect()
    }
    return client
  }

  #away (): void {
    if (this.#isAway || this.#isClosed) return
    this.#isAway = true
    logSafely(this.#log, 'error', { err: this.#reason },
      'tasks: Redis is away: enqueue() rejects with FC_ERR_TASK_STORE, and stored tasks wait')
  }

  #back (): void {
    this.#wasReady = true
    this.#reason = undefined
    if (!this.#isAway) return
    this.#isAway = false
    logSafely(this.#log, 'info', {}, 'tasks: Redis is back')
  }
}
