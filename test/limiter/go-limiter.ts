// A model of Go's Limiter (golang.org/x/time/rate), written from its source and with its names, and random traces of it. Its time is in whole
// nanoseconds, as Go's is.

export interface Operation { at: number, op: 'allow' | 'reserve' | 'cancel', n: number, id: number, ok: boolean, delay?: number, tokens: number }
export interface Trace { rate: number, burst: number, ops: Operation[] }

export interface GoReservation { readonly tokens: number, readonly timeToAct: number }

export class GoLimiter {
  readonly #limit: number
  readonly #burst: number
  #tokens: number
  #last = 0
  #lastEvent = 0

  constructor (limit: number, burst: number) {
    this.#limit = limit
    this.#burst = this.#tokens = burst
  }

  tokensAt (now: number): number {
    return Math.min(this.#burst, this.#tokens + this.#tokensFromDuration(now - this.#last))
  }

  reserve (now: number, n: number, maxFutureReserve: number): GoReservation | undefined {
    const tokens = this.tokensAt(now) - n
    const waitDuration = tokens < 0 ? this.#durationFromTokens(-tokens) : 0
    if (n > this.#burst || waitDuration > maxFutureReserve) return undefined
    this.#last = now
    this.#tokens = tokens
    this.#lastEvent = now + waitDuration
    return { tokens: n, timeToAct: this.#lastEvent }
  }

  cancel (now: number, { tokens, timeToAct }: GoReservation): void {
    if (timeToAct < now) return
    const restoreTokens = tokens - this.#tokensFromDuration(this.#lastEvent - timeToAct)
    if (restoreTokens <= 0) return
    this.#tokens = Math.min(this.#burst, this.tokensAt(now) + restoreTokens)
    this.#last = now
    if (timeToAct !== this.#lastEvent) return
    const prevEvent = timeToAct + this.#durationFromTokens(-tokens)
    if (prevEvent >= now) this.#lastEvent = prevEvent
  }

  #durationFromTokens (tokens: number): number {
    return Math.trunc(tokens / this.#limit * 1e9)
  }

  #tokensFromDuration (duration: number): number {
    return (Math.trunc(duration / 1e9) + (duration % 1e9) / 1e9) * this.#limit
  }
}

/** Makes a trace of an odd or even rate, with times to the microsecond or, as in recorded traces, to the millisecond. */
export function randomTrace (next: () => number): Trace {
  const whole = (max: number): number => Math.floor(next() * max)
  const oneOf = <T>(values: readonly T[]): T => values[whole(values.length)]!
  const rate = next() < 0.7 ? oneOf([0.5, 1, 2, 5, 10, 50, 100, 1000]) : Number((10 ** (next() * 4 - 1)).toPrecision(3))
  const burst = next() < 0.7 ? oneOf([1, 2, 3, 5, 10, 20, 100]) : 1 + whole(100)
  const limiter = new GoLimiter(rate, burst)
  const isFine = next() < 0.3
  const reservations = new Map<number, GoReservation>()
  const ops: Operation[] = []
  let micros = 0
  while (ops.length < 20 + whole(60)) {
    const pause = next() < 0.5 ? 0 : next() * oneOf([0.5, 2, 10]) * oneOf([1, burst]) / rate * 1e6
    micros += isFine ? Math.floor(pause) : 1000 * Math.floor(pause / 1000)
    const [now, id] = [1000 * micros, ops.length]
    const op = oneOf(['allow', 'reserve', 'reserve', 'cancel', 'cancel'] as const)
    const n = 1 + whole(next() < 0.1 ? burst + 1 : oneOf([1, 3, burst]))
    const step = { at: micros / 1000, op, n, id, ok: true }
    if (op === 'cancel') {
      // Often one of the last: those of an earlier time have acted.
      const id = Math.max(0, ops.length - 1 - whole(oneOf([4, ops.length + 1])))
      const reservation = reservations.get(id)
      if (reservation === undefined) continue
      // Go gives back as often as it is asked. Here the second call does nothing.
      reservations.delete(id)
      limiter.cancel(now, reservation)
      ops.push({ ...step, id, tokens: limiter.tokensAt(now) })
      continue
    }
    const reserved = limiter.reserve(now, n, op === 'allow' ? 0 : Infinity)
    if (reserved !== undefined && op === 'reserve') reservations.set(id, reserved)
    ops.push({ ...step, ok: reserved !== undefined, delay: reserved === undefined ? 0 : (reserved.timeToAct - now) / 1e6, tokens: limiter.tokensAt(now) })
  }
  return { rate, burst, ops }
}
