// The first line of the page: what is wrong, because of what, and what to do. A table of cases.
import { readFileSync } from 'node:fs'
import t from 'tap'
import type { Sample } from '../../plugins/dashboard/sample.ts'
import type { Stored } from '../../plugins/dashboard/stored-tasks.ts'
import type { ConsumingProcess } from '../../plugins/tasks/index.ts'
import type { Facts, Problem } from '../../plugins/dashboard/status/problem.ts'
import { problemsOf, serving } from '../../plugins/dashboard/status/problems.ts'
import { ofAll, shareInWords } from '../../plugins/dashboard/words.ts'

type Job = Sample['jobs'][number]

const quiet: Sample = {
  at: 0,
  phase: 'serving',
  pools: [{ pool: 'workers', maxThreads: 2, threads: 2, running: 2, waiting: 0, arrived: 0 }],
  jobs: [],
  limits: [],
  tasks: { running: 0, waiting: 0, completed: 0, failed: 0, retried: 0, refused: { full: 0, store: 0, closing: 0 } },
  locks: { refused: { full: 0, timeout: 0, closing: 0 } },
  requestsRefused: 0,
  loop: undefined,
  routes: [],
  eventLoop: { utilization: 0.5, delayP99: 1, delayMax: 2 }
}
const ends = { completed: 0, failed: 0, aborted: 0, expired: 0, crashed: 0 }
const none = { count: 0, wait: 0, deadline: 0, shed: 0, unavailable: 0, closing: 0 }
const unmeasured = { p50: null, p99: null }
const job = (name: string, fields: Partial<Job>, refused: Partial<Job['refused']> = {}): Job =>
  ({ pool: 'workers', name, ...ends, wait: unmeasured, run: unmeasured, ...fields, refused: { ...none, ...refused } })
const sample = (fields: Partial<Sample>): Sample => ({ ...quiet, ...fields })
const pools = (fields: Partial<Sample['pools'][number]>): Sample['pools'] => quiet.pools.map((pool) => ({ ...pool, ...fields }))
const held = (name: string, runMs: number, pool = 'workers'): Facts['running'][number] => ({ pool, name, runMs })

function facts (fields: Partial<Facts>): Facts {
  return {
    phase: 'serving',
    samples: [quiet],
    running: [],
    concurrencyOf: () => Infinity,
    mostRefused: () => undefined,
    stall: undefined,
    stored: undefined,
    ...fields
  }
}

const searches = [sample({ pools: pools({ arrived: 40 }), jobs: [job('search', { completed: 10 }, { wait: 20, shed: 10 })] })]
const someone = (): { client: string, share: number } => ({ client: '1f2e3d4c', share: 0.52 })

const queue = (name: string, fields: object = {}): Stored['queues'][number] => ({ name, waiting: 12, delayed: 0, running: 0, failed: 0, oldestMs: 300_000, paused: false, ...fields })
const consuming = (consumes: string[], seenMs: number): ConsumingProcess => ({ name: 'pod:1', consumes, concurrency: 1, startedAt: 0, seenMs })
const stored = (queues: Stored['queues'], processes: Stored['processes'] = []): Partial<Facts> => ({ stored: { queues, processes, away: false } })

const cases: Array<[name: string, given: Partial<Facts>, expected: Array<Partial<Problem>>]> = [
  ['nothing is wrong', {}, []],
  ['busy threads, waiting jobs and failures are no refusals', {
    samples: [sample({ pools: pools({ waiting: 9 }), jobs: [job('search', { completed: 3, failed: 1 })] })], running: [held('search', 100), held('search', 9_000)]
  }, []],
  ['one job holds one of two threads', { samples: searches, running: [held('archive', 38_000), held('search', 30)] }, [{
    state: 'overloaded',
    what: 'Refusing 3 of 4 `search` jobs',
    why: '`archive` has held one of two threads for 38.0 s',
    advice: 'Give it `concurrency: 1`, or cancel it',
    docs: 'workers.md#options-of-a-job'
  }]],
  ['a job that is bounded already, and holds a thread', { samples: searches, running: [held('archive', 38_000), held('search', 30)], concurrencyOf: () => 1 }, [{
    why: '`archive` has held one of two threads for 38.0 s', advice: 'Give it a pool of its own, or cancel it', docs: 'workers.md#options-of-workers'
  }]],
  ['jobs of a name hold all threads', { samples: searches, running: [held('archive', 38_000), held('archive', 12_000)] }, [{
    state: 'stalled', what: 'Refusing 3 of 4 `search` jobs', why: '`archive` has held both threads for up to 38.0 s', advice: 'Give them `concurrency: 1`, or cancel them', since: -38_000
  }]],
  ['the only thread is held, and jobs wait', {
    samples: [sample({ pools: pools({ maxThreads: 1, running: 1, waiting: 3 }) })], running: [held('archive', 38_000)]
  }, [{ state: 'stalled', what: '3 jobs wait, and none starts', why: '`archive` has held the only thread for 38.0 s', advice: 'Give it a pool of its own, or cancel it' }]],
  ['the only thread is held, and nobody waits', { samples: [sample({ pools: pools({ maxThreads: 1, running: 1 }) })], running: [held('archive', 38_000)] }, []],
  ['two names hold threads: the one that holds more is named', {
    samples: searches, running: [held('archive', 99_000), held('resize', 8_000), held('resize', 6_000)]
  }, [{ why: '`resize` has held both threads for up to 8.0 s' }]],
  ['more arrives than the threads can do, and nobody stands out', { samples: searches, running: [held('search', 30), held('search', 40)] }, [{
    state: 'overloaded',
    why: 'in the last 1 s 40 jobs a second arrived, and 2 threads completed 10',
    advice: 'Raise `maxThreads` if the machine has idle cores, or start more processes',
    docs: 'sizing.md'
  }]],
  ['more arrives than the threads can do, half of it from one client', { samples: searches, mostRefused: someone }, [{
    why: 'in the last 1 s 40 jobs a second arrived, and 2 threads completed 10; 52 % of the refused are of the client `1f2e3d4c`', advice: 'Give that client a limit', docs: 'limiter.md'
  }]],
  ['its own concurrency refuses a job', {
    samples: [sample({ pools: pools({ running: 1 }), jobs: [job('search', { completed: 1 }, { count: 1 })] })], concurrencyOf: () => 1
  }, [{ what: 'Refusing 1 of 2 `search` jobs', why: 'its `concurrency: 1` lets it hold one of two threads, and others are idle' }]],
  ['jobs of several names are refused, in a pool with a name of its own', {
    samples: [sample({ pools: pools({ pool: 'media' }), jobs: [job('a', { pool: 'media' }, { count: 3 }), job('b', { pool: 'media', completed: 2 }, { wait: 5 })] })]
  }, [{ what: 'Refusing 4 of 5 jobs of the pool `media`, most of them `b`,' }]],
  ['no thread can be started', { samples: [sample({ jobs: [job('search', {}, { unavailable: 2 })] })] }, [{ state: 'stalled', what: 'Refusing all jobs', why: 'no thread can be started' }]],
  ['the event loop has too much to do', {
    samples: [sample({ loop: { arrived: 40, refused: 10 }, routes: [{ route: 'GET /report', share: 0.7, count: 5, longestMs: 90 }], eventLoop: { utilization: 0.98, delayP99: 9, delayMax: 9 } })],
    mostRefused: someone
  }, [{
    state: 'overloaded', what: 'Refusing 1 of 4 requests', why: 'in the last 1 s the event loop was 98 % busy, 70 % of the time with `GET /report`; 52 % of the refused are of the client `1f2e3d4c`', advice: 'Move what this route computes to a job, or start more processes', docs: 'loop.md#which-route-costs-most'
  }]],
  ['the event loop has too much to do for one client', { samples: [sample({ loop: { arrived: 40, refused: 20 } })], mostRefused: someone }, [{
    why: 'in the last 1 s the event loop was 50 % busy; 52 % of the refused are of the client `1f2e3d4c`', advice: 'Give that client a limit'
  }]],
  ['a route holds the event loop again and again', {
    samples: [sample({ at: 1_000, eventLoop: { utilization: 1, delayP99: 3_000, delayMax: 3_200 } }), sample({ at: 5_000, eventLoop: { utilization: 1, delayP99: 3_000, delayMax: 3_190 } }), quiet],
    stall: { route: 'GET /report', ms: 3_190 }
  }, [{ state: 'stalled', since: -2_200, what: 'Answering nobody for seconds at a time', why: '`GET /report` held the event loop for 3.2 s', advice: 'Move what it computes to a job' }]],
  ['a route has held the event loop once, which is over', {
    samples: [sample({ at: 5_000, eventLoop: { utilization: 1, delayP99: 3_000, delayMax: 3_200 } }), quiet], stall: { route: 'GET /report', ms: 3_190 }
  }, [{ state: 'stalled', since: 1_800, time: 'at', what: 'Answered nobody for 3.2 s', why: '`GET /report` held the event loop', advice: 'Move what it computes to a job' }]],
  ['something holds the event loop, and a shorter stall has a name', {
    samples: [sample({ eventLoop: { utilization: 1, delayP99: 3_000, delayMax: 3_200 } })], stall: { route: 'GET /x', ms: 80 }
  }, [{ why: 'something held the event loop', advice: 'Turn on `loop: {}`, which names the route' }]],
  ['something that is no request holds the event loop', {
    samples: [sample({ loop: { arrived: 1, refused: 0 }, eventLoop: { utilization: 1, delayP99: 3_000, delayMax: 3_200 } })]
  }, [{ why: 'something held the event loop', advice: /^No request did/ as never }]],
  ['a late second is no stall', { samples: [sample({ eventLoop: { utilization: 1, delayP99: 300, delayMax: 900 } })] }, []],
  ['a limit refuses', { samples: [sample({ limits: [{ policy: 'plan', granted: 1, refused: 2 }, { policy: 'other', granted: 5, refused: 0 }] })], mostRefused: someone }, [{
    state: 'refusing', what: 'The limit `plan` refuses 2 of 3 requests', why: 'more is asked for than it grants; 52 % of the refused are of the client `1f2e3d4c`'
  }]],
  ['Redis takes no tasks', { samples: [sample({ tasks: { ...quiet.tasks, refused: { full: 0, store: 1, closing: 0 } } })] }, [{ state: 'refusing', what: 'Refusing stored tasks' }]],
  ['too many tasks are held', { samples: [sample({ tasks: { ...quiet.tasks, running: 4, waiting: 1_000, refused: { full: 1, store: 0, closing: 0 } } })] }, [{
    state: 'overloaded', what: 'Refusing background tasks', why: 'as many are held as may be: 4 run and 1000 wait'
  }]],
  ['no process consumes a name', stored([queue('mail'), queue('hook', { oldestMs: 1_000_000, waiting: 1 }), queue('rest')], [consuming(['rest'], 5_000), consuming(['mail'], 15_000)]), [{
    state: 'stalled', since: -1_000_000, what: 'Tasks `mail`, `hook` have stood still', why: '13 wait, and no process consumes them', docs: 'stored-tasks.md#options-of-stored-tasks'
  }]],
  ['no process consumes many names', stored(['a', 'b', 'c', 'd', 'e'].map((name) => queue(name))), [{ what: 'Tasks `a`, `b`, `c` and 2 other names have stood still' }]],
  ['no process consumes a name, for less than five minutes', stored([queue('mail', { oldestMs: 299_999 })]), []],
  ['all processes that consume a name fell silent, and its tasks wait or had begun', stored([queue('mail', { oldestMs: 1_000, running: 1 })], [consuming(['mail'], 16_000), consuming(['mail'], 99_000)]), [{
    state: 'stalled', since: -16_000, what: 'Tasks `mail` have stood still', why: '12 wait, 1 had begun, and no process consumes them'
  }]],
  ['tasks that were enqueued long after the last process of their name was seen', stored([queue('mail', { oldestMs: 20_000 })], [consuming(['mail'], 400_000)]), [{
    state: 'stalled', since: -20_000
  }]],
  ['all processes that consume a name fell silent, and it has no task', stored([queue('mail', { waiting: 0 })], [consuming(['mail'], 16_000)]), []],
  ['no process consumes a name that is paused, or of which nothing waits', stored([queue('mail', { paused: true }), queue('hook', { waiting: 0 })]), [{ id: 'tasks paused' }]],
  ['a name is paused, and its tasks wait', stored([queue('mail', { paused: true }), queue('hook', { paused: true, waiting: 0 })]), [{
    state: 'attention', time: 'unsaid', what: '`mail` is paused', why: '12 tasks wait', docs: 'stored-tasks.md#failed-tasks-and-pauses'
  }]],
  ['tasks have failed for good', stored([queue('mail', { waiting: 0, failed: 3 }), queue('hook', { waiting: 0, failed: 1 })]), [{
    state: 'attention', time: 'unsaid', what: '4 tasks of `mail`, `hook` have failed for good', why: 'they don\'t run again by themselves', docs: 'stored-tasks.md#failed-tasks-and-pauses'
  }]],
  ['one task has failed for good, while jobs are refused', { samples: searches, ...stored([queue('mail', { waiting: 0, failed: 1 })]) }, [
    { state: 'overloaded' }, { what: '1 task of `mail` has failed for good', why: 'it doesn\'t run again by itself', advice: /discard it$/ as never }
  ]],
  ['Redis is away', { stored: { queues: [], processes: [], away: true } }, [{ id: 'tasks store', state: 'refusing', what: 'Redis doesn\'t answer', docs: 'stored-tasks.md#redis' }]],
  ['nobody knows which processes consume a name', { stored: { queues: [queue('mail')], processes: undefined, away: false } }, []],
  ['a lock is not free', { samples: [sample({ locks: { refused: { full: 0, timeout: 1, closing: 0 } } })] }, [{ state: 'refusing', what: 'Refusing calls that wait for a lock' }]],
  ['the worst comes first', {
    samples: [sample({ ...searches[0], limits: [{ policy: 'plan', granted: 1, refused: 2 }], eventLoop: { utilization: 1, delayP99: 1, delayMax: 2_000 } })]
  }, [{ state: 'stalled' }, { state: 'overloaded' }, { state: 'refusing' }]],
  ['refusals of some seconds ago still count', { samples: [...searches, quiet, quiet] }, [{ state: 'overloaded' }]],
  ['a shutdown is all that is said', { phase: 'tasks', samples: searches }, [{ state: 'draining', what: 'Shutting down', why: 'background tasks are being finished' }]]
]

for (const [name, given, expected] of cases) {
  t.test(`the first line: ${name}`, async (t) => {
    const problems = problemsOf(facts(given))
    t.equal(problems.length, expected.length)
    t.match(problems, expected)
    t.equal(new Set(problems.map(({ id }) => id)).size, problems.length, 'each has an id of its own')
    for (const { docs } of problems) {
      const [file = '', anchor] = docs.split('#')
      const headings = readFileSync(new URL(`../../docs/${file}`, import.meta.url), 'utf8').matchAll(/^#+ (.*)$/gm)
      const slugs = [...headings].map(([, heading = '']) => heading.toLowerCase().replace(/[^\w -]/g, '').replaceAll(' ', '-'))
      t.ok(anchor === undefined || slugs.includes(anchor), `${docs} is a section of the documentation`)
    }
  })
}

t.test('whatever refuses or stands still, the state is not serving', async (t) => {
  const refusals: Array<Partial<Sample>> = [
    ...(['count', 'wait', 'deadline', 'shed', 'unavailable'] as const).map((reason) => ({ jobs: [job('search', { completed: 1e6 }, { [reason]: 0.1 })] })),
    { loop: { arrived: 1e6, refused: 0.1 } },
    { limits: [{ policy: 'plan', granted: 1e6, refused: 0.1 }] },
    ...(['full', 'store'] as const).map((reason) => ({ tasks: { ...quiet.tasks, refused: { full: 0, store: 0, closing: 0, [reason]: 0.1 } } })),
    ...(['full', 'timeout'] as const).map((reason) => ({ locks: { refused: { full: 0, timeout: 0, closing: 0, [reason]: 0.1 } } }))
  ]
  for (const refusal of refusals) {
    const [first] = problemsOf(facts({ samples: [sample(refusal), ...Array<Sample>(9).fill(quiet)] }))
    t.not(first, undefined, JSON.stringify(refusal))
  }
})

t.test('a service in which nothing is wrong says what it serves', async (t) => {
  t.equal(serving([]), 'Nothing is refused.')
  t.equal(serving([quiet]), 'Nothing is refused.')
  t.equal(serving([sample({ jobs: [job('search', { completed: 120 })], pools: pools({ waiting: 1 }) })]), '120 jobs a second complete, and nothing is refused. 1 job waits for a thread.')
})

t.test('shares and parts are said as people say them', async (t) => {
  t.strictSame([[1, 1], [999, 1_000], [96, 100], [92, 100], [75, 100], [74, 100], [66, 100], [50, 100], [30, 100], [10, 100], [1, 50], [1, 3], [5, 0]].map(([some = 0, all = 0]) => shareInWords(some, all)),
    ['all', 'all', 'nearly all', '9 of 10', '3 of 4', '3 of 4', '2 of 3', '1 of 2', '3 of 10', '1 of 10', '1 of 50', '1 of 3', 'all'])
  t.strictSame([ofAll(1, 1, 'thread'), ofAll(2, 2, 'thread'), ofAll(3, 3, 'thread'), ofAll(1, 2, 'thread'), ofAll(12, 16, 'thread')],
    ['the only thread', 'both threads', 'all three threads', 'one of two threads', '12 of 16 threads'])
})
