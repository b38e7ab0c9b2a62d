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
import { isRefusal, type RefusalHeaders } from './coded-error.ts'
import { kRequestWork } from './http/request-work.ts'
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

const kRefusal = Symbol('fastify-concurrency.refusal')

type Refusal = Error & RefusalHeaders & { readonly statusCode?: number }

declare module 'fastify' {
  interface FastifyRequest {
    /** @internal The last refusal in the request. */
    [kRefusal]?: Refusal | null
  }
}

/** Notes that something in a request was refused. The request's handler may catch the refusal itself. */
export function noteRefusal (request: FastifyRequest | undefined, error: unknown): void {
  if (request !== undefined && isRefusal(error)) request[kRefusal] = error as Refusal
}

/**
 * Sets Retry-After on an answer of the application's own that has the status of the last refusal, and no such field.
 * Fastify's error handler sets the field itself.
 */
function keepRetryAfter ({ [kRefusal]: refusal }: FastifyRequest, reply: FastifyReply): void {
  if (refusal == null || reply.statusCode !== refusal.statusCode || reply.hasHeader('retry-after')) return
  const { 'retry-after': retryAfter } = refusal.headers
  if (retryAfter !== undefined) reply.header('retry-after', retryAfter)
}

async function refusalLog (app: FastifyInstance): Promise<void> {
  if (app.hasDecorator(kRefusalLog)) return
  const sampler = new Sampler(app.log)
  app.decorate(kRefusalLog, sampler)
  app.decorateRequest(kRefusal, null)
  // Runs before the error handler does.
  app.addHook('onError',
    function sampleRefusal (request: FastifyRequest, reply: FastifyReply, error: Error, done: () => void) {
      if (isRefusal(error)) {
        sampler.count(classOf(error), performance.now())
        reply.log = quiet(reply, error)
        noteRefusal(request, error)
      }
      done()
    })
  app.addHook('onSend', function recordAnswer (request, reply, _payload, done) {
    keepRetryAfter(request, reply)
    request[kRequestWork]?.answered()
    done()
  })
  app.addHook('onClose', () => sampler.flush(performance.now()))
}

export default fp(refusalLog, { name: 'fastify-concurrency/refusal-log', fastify: '5.x' })
