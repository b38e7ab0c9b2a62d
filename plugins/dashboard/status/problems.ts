/**
 * Decides what the first line of the page says: what is wrong, because of what, and what to do. `problemsOf` is a pure
 * function of the last seconds, and the page only draws its result.
 */
import { ended, sum, type Sample } from '../sample.ts'
import { code, duration, number, phaseInWords, plural, shareInWords, whoInWords } from '../words.ts'
import { causeOf, holderOf } from './causes.ts'
import type { Stored } from '../stored-tasks.ts'
import type { Facts, Problem, State } from './problem.ts'

/** A delay of the event loop from which on nobody is served meanwhile, in ms. */
const STALL_MS = 1_000
/** Jobs that run for longer than this are what the others wait for, in ms. */
const STUCK_MS = 10_000
/** Stored tasks that nobody consumes are a problem from then on, in ms: a deploy may be without a worker for a while. */
const UNCONSUMED_MS = 300_000
/** A process that was not seen for so long, in ms, is frozen or gone: it is seen every 5 s. */
const SILENT_MS = 15_000
/** The names that one line holds. */
const MAX_NAMES = 3

/** Returns what is wrong, the worst first; nothing if the service serves all that it is asked. */
export function problemsOf (facts: Facts): Problem[] {
  if (facts.phase !== 'serving') return [draining(facts.phase)]
  const { samples } = facts
  const pools = [...new Set(samples.flatMap(({ pools }) => pools.map(({ pool }) => pool)))]
  const limits = [...new Set(samples.flatMap(({ limits }) => limits.map(({ policy }) => policy)))]
  const found = [
    stalledLoop(facts),
    ...pools.map((pool) => unavailable(facts, pool)),
    ...pools.map((pool) => crowded(facts, pool)),
    refusedByLoop(facts),
    ...tasks(facts),
    unconsumed(facts),
    locks(facts),
    ...limits.map((policy) => limited(facts, policy)),
    failed(facts),
    paused(facts)
  ]
  const problems = found.filter((problem) => problem !== undefined)
  return problems.sort((a, b) => severity.indexOf(a.state) - severity.indexOf(b.state))
}

/** Says what is served, in a sentence, for a service in which nothing is wrong. */
export function serving (samples: readonly Sample[]): string {
  const completed = sum(samples.flatMap(({ jobs }) => jobs.map(({ completed }) => completed))) / Math.max(1, samples.length)
  const waiting = sum(samples.at(-1)?.pools.map(({ waiting }) => waiting) ?? [])
  if (completed === 0 && waiting === 0) return 'Nothing is refused.'
  const waits = waiting === 0 ? '' : ` ${plural(waiting, 'job waits', 'jobs wait')} for a thread.`
  return `${number(Number(completed.toPrecision(2)))} jobs a second complete, and nothing is refused.${waits}`
}

const severity: readonly State[] = ['draining', 'stalled', 'overloaded', 'refusing', 'attention']

function draining (phase: string): Problem {
  return {
    id: 'draining',
    state: 'draining',
    what: 'Shutting down',
    why: phaseInWords(phase),
    advice: '',
    docs: 'shutdown.md#phases'
  }
}

function stalledLoop ({ samples, stall }: Facts): Problem | undefined {
  const stalled = samples.filter(({ eventLoop }) => eventLoop.delayMax >= STALL_MS)
  const [first] = stalled
  if (first === undefined) return undefined
  const isOnce = stalled.length === 1
  const longest = Math.max(...stalled.map(({ eventLoop }) => eventLoop.delayMax))
  const isNamed = stall !== undefined && stall.ms >= STALL_MS
  const unnamed = samples.at(-1)?.loop === undefined
    ? 'Turn on `loop: {}`, which names the route'
    : 'No request did: look for timers and other code of the service, with a CPU profile'
  return {
    id: isOnce ? `loop ${first.at}` : 'loop',
    since: first.at - first.eventLoop.delayMax,
    ...isOnce && { time: 'at' },
    state: 'stalled',
    what: isOnce ? `Answered nobody for ${duration(longest)}` : 'Answering nobody for seconds at a time',
    why: isNamed
      ? `${code(stall.route)} held the event loop${isOnce ? '' : ` for ${duration(stall.ms)}`}`
      : `something held the event loop${isOnce ? '' : ` for ${duration(longest)}`}`,
    advice: isNamed ? 'Move what it computes to a job' : unnamed,
    docs: 'loop.md#which-route-costs-most'
  }
}

function unavailable ({ samples }: Facts, pool: string): Problem | undefined {
  const refused = sum(samples.flatMap(({ jobs }) => jobs.filter((job) => job.pool === pool)
    .map(({ refused }) => refused.unavailable)))
  if (refused === 0) return undefined
  return {
    id: `threads ${pool}`,
    state: 'stalled',
    what: `Refusing all jobs${ofPool(pool)}`,
    why: 'no thread can be started',
    advice: 'The log says at error what happened to the threads',
    docs: 'workers.md#errors-and-crashes'
  }
}

/** A pool that refuses jobs, or in which no job comes to its end. */
function crowded (facts: Facts, pool: string): Problem | undefined {
  const { samples } = facts
  const jobs = samples.flatMap(({ jobs }) => jobs.filter((job) => job.pool === pool))
  const refused = new Map<string, number>()
  for (const { name, refused: { count, wait, deadline, shed } } of jobs) {
    const all = count + wait + deadline + shed
    if (all > 0) refused.set(name, (refused.get(name) ?? 0) + all)
  }
  const gauges = samples.at(-1)?.pools.find((each) => each.pool === pool)
  if (gauges === undefined) return undefined
  const { maxThreads, waiting } = gauges
  const running = facts.running.filter((job) => job.pool === pool)
  const isStuck = running.length >= maxThreads && running.every(({ runMs }) => runMs >= STUCK_MS)
  if (refused.size === 0 && !(isStuck && waiting > 0)) return undefined
  const [[name] = ['']] = [...refused].sort(([, a], [, b]) => b - a)
  const asked = sum(jobs.filter((job) => refused.size > 1 || job.name === name).map(ended))
  const share = shareInWords(sum([...refused.values()]), asked)
  const what = refused.size === 0
    ? `${plural(waiting, 'job')}${ofPool(pool)} ${waiting === 1 ? 'waits' : 'wait'}, and none starts`
    : refused.size === 1
      ? `Refusing ${share} ${code(name)} jobs${ofPool(pool)}`
      : `Refusing ${share} jobs${ofPool(pool)}, most of them ${code(name)},`
  const holder = holderOf(running, maxThreads, (name) => facts.concurrencyOf(pool, name))
  const cause = holder ?? causeOf(facts, pool, maxThreads, [...refused.keys()])
  const begun = (samples.at(-1)?.at ?? Date.now()) - Math.max(...running.map(({ runMs }) => runMs))
  return {
    id: `pool ${pool}`,
    ...isStuck && { since: begun },
    state: isStuck ? 'stalled' : 'overloaded',
    what,
    ...cause
  }
}

function refusedByLoop ({ samples, mostRefused }: Facts): Problem | undefined {
  const refused = sum(samples.map(({ loop }) => loop?.refused ?? 0))
  if (refused === 0) return undefined
  const all = sum(samples.map(({ loop }) => loop?.arrived ?? 0))
  const busy = sum(samples.map(({ eventLoop }) => eventLoop.utilization)) / samples.length
  // Of all time, as the table of routes says it.
  const [costly] = samples.at(-1)?.routes ?? []
  const who = mostRefused('request')
  const isOneRoute = costly !== undefined && costly.share > busy / 2
  const isOneClient = who !== undefined && !isOneRoute
  return {
    id: 'loop refused',
    state: 'overloaded',
    what: `Refusing ${shareInWords(refused, all)} requests`,
    why: `in the last ${samples.length} s the event loop was ${percent(busy)} busy${costly === undefined
      ? ''
      : `, ${percent(costly.share)} of the time with ${code(costly.route)}`}${whoInWords(who)}`,
    advice: isOneClient ? 'Give that client a limit' : `Move what ${isOneRoute ? 'this' : 'the'} route computes to a job, or start more processes`,
    docs: isOneClient ? 'limiter.md' : 'loop.md#which-route-costs-most'
  }
}

function tasks ({ samples, stored }: Facts): Problem[] {
  const of = (reason: 'full' | 'store'): number => sum(samples.map(({ tasks }) => tasks.refused[reason]))
  const problems: Problem[] = []
  const isAway = stored?.away === true
  if (isAway || of('store') > 0) {
    problems.push({
      id: 'tasks store',
      state: 'refusing',
      what: isAway ? 'Redis doesn\'t answer' : 'Refusing stored tasks',
      why: isAway ? 'stored tasks are refused, and none starts' : 'Redis doesn\'t take them',
      advice: 'See whether Redis is up, and whether its memory is full',
      docs: 'stored-tasks.md#redis'
    })
  }
  if (of('full') > 0) {
    const { running, waiting } = samples.at(-1)!.tasks
    problems.push({
      id: 'tasks full',
      state: 'overloaded',
      what: 'Refusing background tasks',
      why: `as many are held as may be: ${number(running)} run and ${number(waiting)} wait`,
      advice: 'Raise `concurrency` of the tasks if what they wait for allows it, or enqueue fewer',
      docs: 'tasks.md#options-of-tasks'
    })
  }
  return problems
}

type Queue = Stored['queues'][number]

/** Names of which no living process runs tasks: for five minutes, or at once if all that consume one fell silent. */
function unconsumed ({ samples, stored }: Facts): Problem | undefined {
  const { queues, processes } = stored ?? { queues: [], processes: undefined }
  if (processes === undefined) return undefined
  const now = samples.at(-1)?.at ?? Date.now()
  const left = queues.flatMap((queue) => {
    const seen = processes.filter(({ consumes }) => consumes.includes(queue.name)).map(({ seenMs }) => seenMs)
    const waiting = queue.paused ? 0 : queue.waiting
    const latest = Math.min(...seen)
    if (latest < SILENT_MS) return []
    // What waits may have come since; what had begun has stood still since the process was last seen.
    const ms = queue.running > 0 ? latest : Math.min(latest, queue.oldestMs)
    if (seen.length > 0) return waiting + queue.running > 0 ? [{ ...queue, waiting, ms }] : []
    return waiting > 0 && queue.oldestMs >= UNCONSUMED_MS ? [{ ...queue, waiting, running: 0, ms: queue.oldestMs }] : []
  })
  if (left.length === 0) return undefined
  const [waiting, running] = [sum(left.map(({ waiting }) => waiting)), sum(left.map(({ running }) => running))]
  const parts = [
    ...waiting > 0 ? [`${number(waiting)} ${waiting === 1 ? 'waits' : 'wait'}`] : [],
    ...running > 0 ? [`${number(running)} had begun`] : []
  ]
  return {
    id: 'tasks unconsumed',
    since: now - Math.max(...left.map(({ ms }) => ms)),
    state: 'stalled',
    what: `Tasks ${namesOf(left)} have stood still`,
    why: `${parts.join(', ')}, and no process consumes ${waiting + running === 1 ? 'it' : 'them'}`,
    advice: 'Start a worker whose `consume` has the name. If one runs, see in its log why it takes none: the memory of Redis may be full',
    docs: 'stored-tasks.md#options-of-stored-tasks'
  }
}

function failed ({ stored }: Facts): Problem | undefined {
  const queues = stored?.queues.filter(({ failed }) => failed > 0) ?? []
  const count = sum(queues.map(({ failed }) => failed))
  if (count === 0) return undefined
  const [have, they, them] = count === 1 ? ['has', 'it doesn\'t', 'it'] : ['have', 'they don\'t', 'them']
  return {
    id: 'tasks failed',
    time: 'unsaid',
    state: 'attention',
    what: `${plural(count, 'task')} of ${namesOf(queues)} ${have} failed for good`,
    why: `${they} run again by ${count === 1 ? 'itself' : 'themselves'}`,
    advice: `Click on the name below to see the errors, and to retry or discard ${them}`,
    docs: 'stored-tasks.md#failed-tasks-and-pauses'
  }
}

function paused ({ stored }: Facts): Problem | undefined {
  const queues = stored?.queues.filter(({ paused, waiting }) => paused && waiting > 0) ?? []
  if (queues.length === 0) return undefined
  const waiting = sum(queues.map(({ waiting }) => waiting))
  return {
    id: 'tasks paused',
    time: 'unsaid',
    state: 'attention',
    what: `${namesOf(queues)} ${queues.length === 1 ? 'is' : 'are'} paused`,
    why: `${plural(waiting, 'task waits', 'tasks wait')}`,
    advice: 'Resume below what may run again',
    docs: 'stored-tasks.md#failed-tasks-and-pauses'
  }
}

function namesOf (queues: readonly Queue[]): string {
  const names = queues.slice(0, MAX_NAMES).map(({ name }) => code(name)).join(', ')
  const rest = queues.length - MAX_NAMES
  return rest > 0 ? `${names} and ${plural(rest, 'other name')}` : names
}

function locks ({ samples }: Facts): Problem | undefined {
  if (sum(samples.map(({ locks: { refused: { full, timeout } } }) => full + timeout)) === 0) return undefined
  return {
    id: 'locks',
    state: 'refusing',
    what: 'Refusing calls that wait for a lock',
    why: 'the lock is not free in time, or too many wait for it',
    advice: 'The log says where its holder asked for it',
    docs: 'locks.md#statistics'
  }
}

function limited ({ samples, mostRefused }: Facts, policy: string): Problem | undefined {
  const own = samples.flatMap(({ limits }) => limits.filter((limit) => limit.policy === policy))
  const refused = sum(own.map(({ refused }) => refused))
  if (refused === 0) return undefined
  const who = mostRefused(`limit ${policy}`)
  return {
    id: `limit ${policy}`,
    state: 'refusing',
    what: `The limit ${code(policy)} refuses ${shareInWords(refused, refused + sum(own.map(({ granted }) => granted)))} requests`,
    why: `more is asked for than it grants${whoInWords(who)}`,
    advice: 'Nothing is wrong if the limit is there for that. Otherwise raise its `rate`',
    docs: 'limiter.md#options-of-a-policy'
  }
}

const ofPool = (pool: string): string => pool === 'workers' ? '' : ` of the pool ${code(pool)}`
const percent = (share: number): string => `${Math.round(100 * share)} %`
