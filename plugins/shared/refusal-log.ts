/**
 * The refusal log keeps refusals from flooding the log. Fastify's default handler logs each thrown 503 as an error. Under overload that is
 * ten thousand lines about a service that works as designed, written by the CPU that is short. Here each refusal is one line at debug, and at
 * most one line a second at warn says how many refusals of each code there were.
 *
 * Only that line of the default handler changes. The answer, and an error handler of the application's own with its log lines, stay as they are.
 */
import fp from 'fastify-plugin'
import type { FastifyBaseLogger, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { isRefusal } from './coded-error.ts'
import { logSafely } from './log.ts'

/** The time between two lines at warn, in ms. */
const PERIOD = 1_000

const kRefusalLog = Symbol('fastify-concurrency.refusalLog')

class Sampler {
  /** The number of refusals since the last line at warn, by code. */
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
    logSafely(this.#log, 'warn', { refused }, 'requests were refused')
  }
}

/** Returns a function that counts a refusal. Use it for refusals that a hook answers, because they pass no error handler. The app must have this plugin. */
export function refusalCounter (app: FastifyInstance): (code: string) => void {
  const sampler = app.getDecorator<Sampler>(kRefusalLog)
  return (code) => sampler.count(code, performance.now())
}

/**
 * Returns the reply's log, but writes the line about this error at debug, and then puts the original log back. It is a Proxy, since a logger may
 * have private fields, and methods that need their own `this`.
 */
function quiet (reply: FastifyReply, refusal: Error): FastifyBaseLogger {
  const { log } = reply
  const error = (fields: { err?: unknown }, ...rest: [string?]): void => {
    if (fields?.err !== refusal) return log.error(fields, ...rest)
    reply.log = log
    logSafely(log, 'debug', fields, rest[0] ?? refusal.message)
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
