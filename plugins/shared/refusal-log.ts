/**
 * A refusal never floods the log. Fastify's default handler logs a thrown 503 as an error with its stack, once a request: under
 * overload that is the service working as it should, told ten thousand times, by the CPU that is short. Instead each refusal is one
 * line at debug, and at most one line a period at warn says how many there were.
 *
 * Only that line of the default handler changes: the answer, a handler of the application's own and what it logs stay as they are.
 */
import fp from 'fastify-plugin'
import type { FastifyBaseLogger, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { isRefusal } from './errors.ts'

/** ms between two lines at warn. */
const PERIOD = 10_000

const kRefusalLog = Symbol('fastify-concurrency.refusalLog')

class Sampler {
  #refused: Record<string, number> = {}
  #saidAt = -Infinity
  #timer: NodeJS.Timeout | undefined
  readonly #log: FastifyBaseLogger

  constructor (log: FastifyBaseLogger) {
    this.#log = log
  }

  count (code: string, now: number): void {
    this.#refused[code] = (this.#refused[code] ?? 0) + 1
    if (this.#timer !== undefined) return
    const wait = this.#saidAt + PERIOD - now
    if (wait <= 0) this.say(now)
    else this.#timer = setTimeout(() => this.say(performance.now()), wait).unref()
  }

  say (now: number): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#saidAt = now
    const refused = this.#refused
    this.#refused = {}
    if (Object.keys(refused).length === 0) return
    try {
      this.#log.warn({ refused }, 'requests were refused')
    } catch {
      // A log stream that was destroyed throws. It must not make close() reject.
    }
  }
}

/** Counts a refusal that is answered in a hook rather than thrown, and so passes no error handler. The app must have this plugin. */
export function countRefusal (app: FastifyInstance, code: string): void {
  (app as unknown as { [kRefusalLog]: Sampler })[kRefusalLog].count(code, performance.now())
}

/**
 * The reply's log until the line that says this error, but for that line. A Proxy: a logger may have private fields, and methods that
 * want their own `this`.
 */
function quiet (reply: FastifyReply, refusal: Error): FastifyBaseLogger {
  const { log } = reply
  const error = (fields: { err?: unknown }, ...rest: [string?]): void => {
    if (fields?.err !== refusal) return log.error(fields, ...rest)
    reply.log = log
    log.debug(fields, ...rest)
  }
  return new Proxy(log, {
    get (target, key) {
      if (key === 'error') return error
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? value.bind(target) as unknown : value
    }
  })
}

async function refusalLog (app: FastifyInstance): Promise<void> {
  if (app.hasDecorator(kRefusalLog)) return
  const sampler = new Sampler(app.log)
  app.decorate(kRefusalLog, sampler)
  // Runs before the error handler does.
  app.addHook('onError', (_request: FastifyRequest, reply: FastifyReply, error: Error, done: () => void) => {
    if (isRefusal(error)) {
      sampler.count((error as { code?: string }).code as string, performance.now())
      reply.log = quiet(reply, error)
    }
    done()
  })
  app.addHook('onClose', () => sampler.say(performance.now()))
}

export default fp(refusalLog, { name: 'fastify-concurrency/refusal-log', fastify: '5.x' })
