/** Says in a sentence why something was refused or has failed. Every number that decided is in the sentence. */
import type { ChannelMessages } from '../channel-messages.ts'
import type { JobRefusal } from '../shared/errors.ts'

export function duration (ms: number): string {
  if (ms < 0) return `−${duration(-ms)}`
  if (ms >= 48 * 3_600_000) return `${number(ms / 86_400_000)} d`
  if (ms >= 5_970_000) return `${number(ms / 3_600_000)} h`
  if (ms >= 59_950) return `${number(ms / 60_000)} min`
  if (ms >= 999.5) return `${(ms / 1_000).toFixed(1)} s`
  return `${ms < 10 ? Number(ms.toFixed(1)) : Math.round(ms)} ms`
}

export const number = (value: number): string =>
  String(Number.isInteger(value) ? value : Number(value.toPrecision(3)))
export const plural = (count: number, one: string, many = `${one}s`): string => `${number(count)} ${count === 1 ? one : many}`

/** Marks a name in a sentence, between backticks, which the page draws as code. */
export const code = (name: string): string => `\`${name.replaceAll('`', '\'').slice(0, 80)}\``

/** Names the client that most refusals are of. */
export function whoInWords (who: { client: string, share: number } | undefined): string {
  if (who === undefined) return ''
  const part = who.share > 0.995 ? 'all' : `${Math.round(100 * who.share)} %`
  return `; ${part} of the refused are of the client ${code(who.client)}`
}

const numerals = ['no', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten']
const numeral = (value: number): string => numerals[value] ?? number(value)

/** Says how many of all: `one of two threads`, `both threads`, `all four threads`, `the only thread`. */
export function ofAll (some: number, all: number, what: string): string {
  if (some < all) return `${numeral(some)} of ${numeral(all)} ${what}s`
  if (all === 1) return `the only ${what}`
  return all === 2 ? `both ${what}s` : `all ${numeral(all)} ${what}s`
}

/** Says a share as people do: `all`, `nearly all`, `3 of 4`, `1 of 30`. */
export function shareInWords (some: number, all: number): string {
  const share = some / all
  if (!(share < 0.995)) return 'all'
  if (share > 0.94) return 'nearly all'
  if (share < 0.15) return `1 of ${Math.round(1 / share)}`
  let best: [number, number] = [1, 1]
  for (let below = 2; below <= 10; below++) {
    const above = Math.min(below - 1, Math.max(1, Math.round(share * below)))
    // A larger denominator has to be clearly nearer: 3 of 4 says more than 7 of 9.
    if (Math.abs(above / below - share) < Math.abs(best[0] / best[1] - share) - 0.02) best = [above, below]
  }
  return `${best[0]} of ${best[1]}`
}

export function jobRefused (refusal: JobRefusal): string {
  if (refusal.reason === 'closing') return 'the service is shutting down, and takes no new jobs'
  if (refusal.reason === 'unavailable') return 'no worker thread can be started; the lines about threads say why'
  const { reason, waiting, estimatedWait, limit } = refusal
  switch (reason) {
    case 'count': return `${plural(waiting, 'job')} waited, and at most ${number(limit)} may wait`
    case 'wait': return `${plural(waiting, 'job')} waited: ${duration(estimatedWait)} of work was ahead, and while the service is overloaded no job may wait longer than ${duration(limit)}`
    case 'deadline': return limit <= 0
      ? `it had waited ${duration(estimatedWait)}, until its deadline had passed`
      : `its deadline was ${duration(limit)} away: too soon for a wait of ${duration(estimatedWait)} and a run`
    case 'shed': return `it had waited ${duration(estimatedWait)}, longer than the ${duration(limit)} that a job may wait while the service is overloaded`
  }
}

export function limitRefused ({ cost, tokens, rate, burst, lockedOut, retryAfter, waiters, late }: ChannelMessages['fastify-concurrency:limiter:refused']): string {
  if (lockedOut) return `it was refused too often, and is locked out for ${duration(retryAfter * 1_000)} more`
  if (waiters !== undefined) return `${plural(waiters.waiting, 'call')} waited for it, and at most ${number(waiters.limit)} may wait`
  if (late !== undefined) return `its tokens would have come after ${duration(late.wait)}, and it waits ${duration(late.timeout)} at most`
  const every = rate >= 1 ? `${plural(rate, 'token comes', 'tokens come')} back each second` : `a token comes back every ${duration(1_000 / rate)}`
  const had = tokens === undefined ? '' : ` and its bucket had ${number(Math.max(0, tokens))} of ${number(burst)}`
  return `it needed ${plural(cost, 'token')}${had}; ${every}`
}

export function loopRefused ({ reason, held, estimatedWait, limit }:
ChannelMessages['fastify-concurrency:loop:refused']): string {
  if (reason === 'count') return `${plural(held, 'request')} waited for the event loop, and at most ${number(limit)} may wait`
  return reason === 'shed'
    ? `it had waited ${duration(estimatedWait)} for the event loop, longer than the ${duration(limit)} that a request may wait`
    : `the event loop had ${duration(estimatedWait)} of work ahead, and a request may wait ${duration(limit)} at most`
}

export function limitBusy ({ reason, waiting, estimatedWait, limit }: ChannelMessages['fastify-concurrency:limiter:busy']): string {
  switch (reason) {
    case 'count': return `${plural(waiting, 'request')} waited for it, and at most ${number(limit)} may wait`
    case 'wait': return `it would have waited ${duration(estimatedWait)}, longer than the ${duration(limit)} that it may wait`
    case 'deadline': return `it could not have been answered in time: its deadline was ${duration(limit)} away`
    case 'shed': return `it had waited ${duration(estimatedWait)}, longer than the ${duration(limit)} that it may wait`
  }
}

/** The fields that refusals of tasks and locks carry. */
interface Arithmetic { code?: unknown, waiting?: unknown, running?: unknown, limit?: unknown, ofKey?: { waiting: number, limit: number }, errors?: unknown }

/** Returns the arithmetic of an error in words, if the error has any, and otherwise its message. It never throws: nothing catches what the feed's timer throws. */
export function errorWords (error: unknown): string {
  try {
    return wordsOf(error)
  } catch { // The application's error has a getter that throws.
    return 'its error can\'t be read'
  }
}

function wordsOf (error: unknown): string {
  if (!(error instanceof Error)) return 'it threw a value that is no Error'
  const { code, waiting, running, limit, ofKey, errors } = error as Error & Arithmetic
  if (code === 'FC_ERR_LOCK_QUEUE_FULL' && typeof limit === 'number') return `${error.message}: at most ${number(limit)}`
  if (code === 'FC_ERR_TASKS_FULL' && ofKey !== undefined) return `${plural(ofKey.waiting, 'task')} of its key waited, and a key may hold no more waiting tasks than there are places free: ${number(ofKey.limit)}`
  if (code === 'FC_ERR_TASKS_FULL' && typeof waiting === 'number' && typeof running === 'number' && typeof limit === 'number') {
    return `${plural(running, 'task')} ran and ${number(waiting)} waited, and at most ${number(limit)} may be held`
  }
  const message = String(error.message)
  // Node's error of a connection that both addresses of a name refuse has no message of its own.
  if (message === '') return Array.isArray(errors) && errors.length > 0 ? shortened(errors.slice(0, 3).map(wordsOf).join('; ')) : shortened(String(code ?? error.name))
  return shortened(message)
}

const threadEnds = {
  closed: 'its pool was closed',
  overdue: 'it was ended, because its job went on after it was aborted; another thread takes its place',
  'held-up': 'it was ended, because code that a finished job left behind held it up; another thread takes its place',
  slow: 'it was ended, because it has not loaded the jobs in time; it is tried again',
  broken: 'it was ended, because it can\'t load the jobs; it is tried again'
} as const

export function threadEnded ({ why, error }: ChannelMessages['fastify-concurrency:workers:thread-ended']): string {
  return why === 'crashed' ? `it ended by itself; another thread takes its place: ${errorWords(error)}` : threadEnds[why]
}

const phases: Record<string, string> = {
  leaving: 'the service reports that it is not ready, and still serves',
  requests: 'new requests are refused, and those in flight are being finished',
  tasks: 'background tasks are being finished',
  workers: 'jobs are being finished',
  closing: 'the application closes',
  closed: 'the application has closed'
}

export const phaseInWords = (phase: string): string => phases[phase] ?? phase

/** @param isFirst whether the shutdown begins with this phase */
export function phaseEntered ({ phase, reason }: ChannelMessages['fastify-concurrency:lifecycle:entered'], isFirst: boolean): string {
  return `${isFirst ? `because of ${reason}: ` : ''}${phaseInWords(phase)}`
}

/** An error may carry what a client has sent, of any length. */
function shortened (text: string): string {
  return text.length <= 300 ? text : `${text.slice(0, 300)}…`
}
