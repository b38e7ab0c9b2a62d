import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import { ExploreError } from '../errors.ts'
import * as check from '../check.ts'
import { named } from '../context.ts'
import { instrument, trackInstances, trackLocks } from '../contexts.ts'
import { detector } from '../detector.ts'
import { onlySeed, print, sayOnce } from '../environment.ts'
import { hasFailed } from '../failure.ts'
import { warnOfFailure } from '../hammer.ts'
import { checkApp } from '../options.ts'
import { hasReadAny } from '../register/rewritten.ts'
import type { RaceReport } from '../reports.ts'
import { requireParser } from '../source/parse.ts'
import { patchBuiltIns, patchDecorators, schedule } from './patches.ts'
import { Scheduler } from './scheduler.ts'
import { MOST_SERIAL, outcomeOf, SerialOutcomes } from './serial.ts'

export interface ExploreOptions {
  /** The requests to send at the same time, as for `app.inject()`. */
  requests: ReadonlyArray<string | InjectOptions>
  /**
   * How many orders to try. RACE_SEED tries one.
   * @default 100
   */
  seeds?: number
  /**
   * Methods of the app's decorators that are operations too, because they return promises: `['db.query', 'db.save']`. Without them, what a database
   * driver does is explored in the order in which its answers come.
   * @default []
   */
  operations?: readonly string[]
  /**
   * Throws if the app's state or the responses are wrong after all requests. It decides first; the detector second. `'serial'` demands that
   * responses and tracked state are those of the requests one after the other, in some order; it is for 2 to 4 requests. A request that is
   * told to try again (409, 423, 425, 429, 503) may be one that was not sent. An app that answers otherwise because requests overlap needs a function. Without an invariant, such a difference is printed, and fails nothing.
   */
  invariant?: 'serial' | ((app: FastifyInstance, responses: LightMyRequestResponse[]) => unknown)
}

/** @internal Every option, for the test that compares them with the docs. */
export const exploreOptionNames = ['requests', 'seeds', 'operations', 'invariant'] as const satisfies ReadonlyArray<keyof ExploreOptions>

export interface Explored {
  /** How many orders were tried. */
  seeds: number
  /** How many of them differed. */
  orders: number
}

/** What one seed led to. @internal */
export interface Run {
  readonly order: readonly string[]
  readonly reports: readonly RaceReport[]
  readonly responses: readonly LightMyRequestResponse[]
  /** What the invariant threw, or why the run didn't end by itself. */
  readonly failure: { readonly error: unknown } | undefined
  /** What the responses and the state are, by path; of requests one after the other, in the order of these. */
  readonly outcome: ReadonlyMap<string, string>
  /** Whether any state was tracked. */
  readonly hasState: boolean
}

/**
 * Tries many orders of what overlapping requests do, each with a new app: operations of timers, files, DNS and fetch start one by one, in
 * an order that the seed decides. A seed gives the same order again.
 *
 * @param build returns a new app each time; state outside of it must not be changed by requests, or runs would depend on each other
 * @throws ExploreError (FC_ERR_EXPLORE) for the first seed whose invariant throws, or in which requests raced. RACE_SEED runs that seed alone.
 *
 * @example
 * await explore(buildApp, { requests: ['/visit', '/visit'], invariant: (app) => assert.equal(app.visits, 2) })
 */
export async function explore (build: () => FastifyInstance | Promise<FastifyInstance>, options: ExploreOptions): Promise<Explored> {
  check.fn('explore: build', build)
  check.record('explore', options, exploreOptionNames)
  const requests = check.array('explore.requests', options.requests) as ExploreOptions['requests']
  check.ensure(requests.length > 0, 'explore.requests', 'at least one request', requests)
  for (const [index, request] of requests.entries()) typeof request === 'string' ? check.text(`explore.requests[${index}]`, request) : check.record(`explore.requests[${index}]`, request)
  const seeds = check.integer('explore.seeds', options.seeds ?? 100, { min: 1 })
  const operations = check.array('explore.operations', options.operations ?? []) as string[]
  for (const operation of operations) check.text('explore.operations', operation)
  const { invariant = () => {} } = options
  const isSerial = invariant === 'serial'
  const comparesState = options.invariant === undefined || isSerial
  if (comparesState) requireParser()
  if (isSerial) check.ensure(requests.length > 1 && requests.length <= MOST_SERIAL, 'explore.requests', `2 to ${MOST_SERIAL} requests, with the invariant 'serial'`, requests)
  else check.fn('explore.invariant', invariant)
  let serial = comparesState && requests.length > 1 && requests.length <= MOST_SERIAL
    ? new SerialOutcomes(requests.length, async (order) => (await tryOrder(build, { requests: order.map((index) => requests[index] as string), operations, invariant: () => {} }, 0, true)).outcome)
    : undefined
  const orders = new Set<string>()
  const statuses = new Set<number>()
  let hasState = false
  for (const seed of seedsOf(seeds)) {
    const run = await tryOrder(build, { requests, operations, invariant: isSerial ? () => {} : invariant }, seed)
    orders.add(run.order.join('\n'))
    hasState ||= run.hasState
    run.responses.forEach(({ statusCode }) => statuses.add(statusCode))
    const confirmed = run.reports.filter(({ isConfirmed }) => isConfirmed)
    const odd = run.failure === undefined && confirmed.length === 0 ? await serial?.differenceOf(run.outcome) : undefined
    if (run.failure === undefined && confirmed.length === 0 && odd !== undefined && !isSerial) {
      // Once is enough.
      serial = undefined
      print(`RACE (possible): with seed ${seed} of explore(), ${odd}\n  This fails nothing; invariant: 'serial' does, and a function says what is right`)
    }
    if (run.failure === undefined && confirmed.length === 0 && (odd === undefined || !isSerial)) continue
    const texts = (confirmed.length > 0 ? confirmed : run.reports).map(({ text }) => text)
    const error = odd === undefined ? run.failure?.error : new Error(odd)
    print([`RACE: seed ${seed} of explore() failed${error instanceof Error ? `: ${error.message}` : ''}`, ...run.order.map((name, index) => `  ${index + 1}. ${name}`), ...texts, `  again: RACE_SEED=${seed}, which each explore() of a process takes: run this test alone`].join('\n'))
    if (confirmed.length > 0) detector.reports.confirm(confirmed.length)
    throw new ExploreError(seed, error instanceof Error ? error.message : texts.join('\n'), { cause: error })
  }
  warnOfFailure('explore()', statuses)
  if (comparesState && !hasState && !hasReadAny()) {
    sayOnce('explore() has looked at responses only, and at no state: mark what requests change with shared(), or start Node with RACE=1 and --import fastify-concurrency-race/register')
  }
  return { seeds: seedsOf(seeds).length, orders: orders.size }
}

function seedsOf (seeds: number): number[] {
  const only = onlySeed()
  return only === undefined ? Array.from({ length: seeds }, (_, index) => index) : [only]
}

/** @internal */
export interface OrderOptions extends Required<Omit<ExploreOptions, 'seeds' | 'invariant'>> {
  readonly invariant: Exclude<ExploreOptions['invariant'], 'serial' | undefined>
}

/** Runs one seed, and puts everything back. @internal */
export async function tryOrder (build: () => FastifyInstance | Promise<FastifyInstance>, { requests, operations, invariant }: OrderOptions, seed: number, isSerial = false): Promise<Run> {
  const scheduler = new Scheduler(seed)
  const reports = new Map<string, RaceReport>()
  const watched = detector.shadow.watch()
  const undo = [watched.end, detector.use(), trackLocks(), detector.reports.onReport((report, _owner, key) => { if (!reports.has(key)) reports.set(key, report) }), trackInstances(instrument), detector.reports.silence(),
    // Before the app is built: a module that it loads may take functions out of the built-ins.
    patchBuiltIns()]
  let app: FastifyInstance | undefined
  let responses: LightMyRequestResponse[] = []
  let failure: Run['failure']
  let outcome: Run['outcome'] = new Map()
  let hasState = false
  try {
    app = checkApp('explore: what build returns', await build())
    await app.ready()
    undo.push(patchDecorators(app, operations))
    try {
      if (isSerial) for (const request of requests) responses.push(...await overlap(app, [request], scheduler))
      else responses = await overlap(app, requests, scheduler)
      outcome = outcomeOf(responses, watched)
      hasState = watched.collections.size + watched.values.size > 0
      // The built-ins are no longer scheduled here, because an invariant may send requests of its own.
      await invariant(app, responses)
      // An order that nobody looked at must not pass.
      if (hasFailed()) throw new Error('the race detector has failed')
    } catch (error) {
      failure = { error }
    }
  } finally {
    try {
      await app?.close()
    } finally {
      for (const each of undo.reverse()) each()
    }
  }
  return { order: scheduler.order, reports: [...reports.values()], responses, failure, outcome, hasState }
}

/** @throws what inject() rejects with, or Error if the requests don't end or the app doesn't fall quiet */
async function overlap (app: FastifyInstance, requests: ExploreOptions['requests'], scheduler: Scheduler): Promise<LightMyRequestResponse[]> {
  const responses: LightMyRequestResponse[] = []
  /** Why requests could not be sent. */
  const refused: unknown[] = []
  let answered = 0
  for (const [index, request] of requests.entries()) {
    // A request arrives when it is released: the order of arrivals is explored too.
    const label = `request ${index + 1}`
    scheduler.park({
      name: `${label} arrives: ${typeof request === 'string' ? `GET ${request}` : `${request.method ?? 'GET'} ${String(request.url ?? request.path)}`}`,
      party: {},
      delay: 0,
      isInterval: false,
      start: () => {
        void named(label, async () => app.inject(request)).then((response) => { responses[index] = response }, (error: unknown) => { refused.push(error) }).finally(() => { answered++ })
        return undefined
      }
    })
  }
  const end = schedule(scheduler)
  try {
    const why = await scheduler.run(() => answered === requests.length)
    if (why !== undefined) throw new Error(`${why}; not started: ${scheduler.left.slice(0, 5).join(', ') || 'nothing'}`)
  } finally {
    end()
  }
  if (refused.length > 0) throw refused[0]
  return responses
}
