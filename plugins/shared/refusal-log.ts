/**
 * The refusal log keeps refusals from flooding the log. Fastify's default handler logs each thrown 503 as an error, and
 * each thrown 429 at info. Under overload that is ten thousand lines about a service that works as designed, written by
 * the CPU that is short. Here each refusal is one line at debug, and refusals of a class, such as those of one policy,
 * are one line a second at warn, with their count.
 *
 * Only that line of the default handler changes. The answer, and an error handler of the application's own with its log
 * lines, stay as they are.
 */
import fp from 'fastify-plugin'
import type { FastifyBaseLogger, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { isRefusal } from './coded-error.ts'
import { logSafely } from './log.ts'

/** The time between two lines of a class at warn, in ms. */
const PERIOD_MS = 1_000
/**
 * The most classes of a period. Names of tasks have no bound, so refusals of further classes are counted by their code
 * alone.
 */
const MAX_CLASSES = 20

/** What refusals have in common that the log counts together. */
export interface RefusalClass {
  code: string
  job?: string | undefined
  /** Why the job, the task or the caller of a lock was refused. */
  reason?: string | undefined
  /** What is wrong with the store of tasks. */
  failure?: string | undefined
  policy?: string | undefined
  task?: string | undefined
  /** The kind of a lock. Its key may be a client's. */
  kind?: string | undefined
}

/** Returns the class of a refusal, from the fields of its error. */
export function classOf (refusal: Error): RefusalClass {
  const { code, job, reason, failure, policy, kind } = refusal as Error & RefusalClass
  return { code, job, reason, failure, policy, kind }
}

/** Compares two classes. Field by field it costs a tenth of a key that is composed for each refusal. */
function isSame (a: RefusalClass, b: RefusalClass): boolean {
  return a.code === b.code && a.job === b.job && a.reason === b.reason && a.failure === b.failure &&
    a.policy === b.policy && a.task === b.task &&
    a.kind === b.kind
}

const kRefusalLog = Symbol('fastify-concurrency.refusalLog')

interface Counted {
  readonly refused: RefusalClass
  count: number
}

class Sampler {
  /** The refusals since the last lines at warn, by class. */
  #classes: Counted[] = []
  #loggedAt = -Infinity
  #timer: NodeJS.Timeout | undefined
  readonly #log: FastifyBaseLogger

  constructor (log: FastifyBaseLogger) {
    this.#log = log
  }

  count (refused: RefusalClass, now: number): void {
    const known = this.#find(refused) ?? this.#add(refused)
    known.count++
    if (this.#timer !== undefined) return
    const wait = this.#loggedAt + PERIOD_MS - now
    if (wait <= 0) this.flush(now)
    else this.#timer = setTimeout(() => this.flush(performance.now()), wait).unref()
  }

  #find (refused: RefusalClass): Counted | undefined {
    return this.#classes.find((each) => isSame(each.refused, refused))
  }

  #add (refused: RefusalClass): Counted {
    if (this.#classes.length >= MAX_CLASSES) refused = { code: refused.code }
    const known = this.#find(refused) ?? { refused, count: 0 }
    if (known.count === 0) this.#classes.push(known)
    return known
  }

  flush (now: number): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#loggedAt = now
    const classes = this.#classes
    this.#classes = []
    for (const { refused, count } of classes) {
      logSafely(this.#log, 'warn', { ...refused, refused: count },
        'requests were refused')
    }
  }
}

/**
 * Returns a function that counts a refusal. Use it for refusals that a hook answers, because they pass no error
 * handler. The app must have this plugin.
 */
export function refusalCounter (app: FastifyInstance): (refused: RefusalClass) => void {
  const sampler = app.getDecorator<Sampler>(kRefusalLog)
  return (refused) => sampler.count(refused, performance.now())
}

/**
 * Returns the reply's log, but writes the handler's line about this error at debug, and then puts the original log
 * back. It is a Proxy, since a logger may have private fields, and methods that need their own `this`.
 */
function quiet (reply: FastifyReply, refusal: Error): FastifyBaseLogger {
  const { log } = reply
  const quieted = (level: 'error' | 'info') => (fields: { err?: unknown, res?: unknown }, ...rest: [string?]): void => {
    // Only Fastify's own handler logs the reply. A line of the application's own about the same error stays as it is.
    if (fields?.err !== refusal || fields.res !== reply) return log[level](fields, ...rest)
    reply.log = log
    logSafely(log, 'debug', fields, rest[0] ?? refusal.message)
  }
  return new Proxy(log, {
    get (target, key) {
      if (key === 'error' || key === 'info') return quieted(key)
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? value.bind(target) as unknown : value
    }
  })
}

interface RefusalError extends Error {
  statusCode?: number
  headers: Record<string, string>
}

/** On a reply: the status and the Retry-After of the last refusal in its request. An entry of a WeakMap costs 2 µs. */
const kKept = Symbol('fastify-concurrency.keptRetryAfter')

type Keeping = FastifyReply & { [kKept]?: { status: number | undefined, retryAfter: string } }

/**
 * Sets Retry-After, so that a handler of the application's own that answers with the refusal's status keeps it.
 * The field goes again if the handler answers with another status. Of several refusals, the last one counts.
 */
export function keepRetryAfter (reply: Keeping, { statusCode, headers }: RefusalError): void {
  const retryAfter = headers['retry-after']
  const { [kKept]: before } = reply
  const own = reply.getHeader('retry-after')
  if (retryAfter === undefined || reply.sent || (own !== undefined && own !== before?.retryAfter)) return
  reply.header('retry-after', retryAfter)
  reply[kKept] = { status: statusCode, retryAfter }
  if (before !== undefined) return
  const { send } = reply
  reply.send = (payload) => {
    const { status, retryAfter } = reply[kKept]!
    // An error that is thrown has no status yet: the error handler gives it one, and sends again.
    const isOpen = payload instanceof Error && reply.statusCode < 400
    if (!isOpen && reply.statusCode !== status && reply.getHeader('retry-after') === retryAfter) {
      reply.removeHeader('retry-after')
    }
    return send.call(reply, payload)
  }
}

async function refusalLog (app: FastifyInstance): Promise<void> {
  if (app.hasDecorator(kRefusalLog)) return
  const sampler = new Sampler(app.log)
  app.decorate(kRefusalLog, sampler)
  // Runs before the error handler does.
  app.addHook('onError',
    function sampleRefusal (_request: FastifyRequest, reply: FastifyReply, error: Error, done: () => void) {
      if (isRefusal(error)) {
        sampler.count(classOf(error), performance.now())
        reply.log = quiet(reply, error)
        keepRetryAfter(reply, error as RefusalError)
      }
      done()
    })
  app.addHook('onClose', () => sampler.flush(performance.now()))
}

export default fp(refusalLog, { name: 'fastify-concurrency/refusal-log', fastify: '5.x' })
