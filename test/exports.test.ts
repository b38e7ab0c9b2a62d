// The public surface: adding to it is a decision, and removing from it breaks somebody.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import * as suite from '../plugins/index.ts'
import { isRefusal } from '../plugins/shared/coded-error.ts'
import * as errorClasses from '../plugins/shared/errors.ts'
import { apiFile, apiOf, sourcesOf } from './api.ts'
import { exportsOf, program, root } from './compiler.ts'

interface Conditions { 'fastify-concurrency-source': string, types: string, default: string }

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { name: string, exports: Record<string, Conditions | string> }

const errorNames = Object.entries(errorClasses).filter(([, value]) => (value as { prototype?: unknown }).prototype instanceof Error).map(([name]) => name)

const surface: Record<string, { values: string[], types: string[] }> = {
  '.': {
    values: [...errorNames, 'default', 'definePolicies'].sort(),
    types: ['AcquireOptions', 'CancellationOptions', 'ChannelMessages', 'ConcurrencyOptions', 'DashboardOptions', 'Group', 'JobName', 'JobPayload', 'JobResult', 'JobStats', 'Lifecycle', 'LifecycleOptions', 'Limiter',
      'LimiterOptions', 'Lock', 'Locks', 'LocksOptions', 'LocksStats', 'Loop', 'LoopOptions', 'LoopStats', 'Metrics', 'MetricsOptions', 'MetricsSnapshot', 'Mutex', 'Operate', 'OperateOptions', 'Percentiles', 'Phase', 'Policies', 'Policy', 'PoolStats', 'Refusal', 'RefusalReason', 'Register', 'RouteCost', 'RunOptions', 'RunningJob',
      'RwLock', 'Semaphore', 'ShutdownReport', 'TaskContext',
      'TaskHandle', 'Tasks', 'TasksFull', 'TasksOptions', 'TasksStats', 'TracingOptions', 'Unfinished', 'Workers', 'WorkersOptions']
  },
  './workers': {
    values: ['default'],
    types: ['JobName', 'JobPayload', 'JobResult', 'JobStats', 'Percentiles', 'PoolStats', 'Register', 'RunOptions', 'RunningJob', 'Workers', 'WorkersOptions']
  },
  './cancellation': { values: ['currentRequest', 'default', 'outsideRequest'], types: ['CancellationOptions'] },
  './lifecycle': { values: ['default'], types: ['Lifecycle', 'LifecycleOptions', 'Phase', 'ReadyCheck', 'ShutdownHook', 'ShutdownReport', 'Unfinished'] },
  './limiter': {
    values: ['default', 'definePolicies'],
    types: ['CheckRateLimit', 'Clock', 'ConcurrencyPolicy', 'Cost', 'CreateRateLimitOptions', 'HeaderKey', 'KeyFunction', 'LimitRefused', 'Limiter', 'LimiterOptions', 'Lockout', 'OnStoreError', 'Peek', 'Period',
      'Policies', 'Policy', 'PolicyName', 'RateLimitCheck', 'RateLimitOptions', 'RedisClient', 'RefusalOptions', 'Register', 'Reservation', 'ReserveOptions',
      'RouteLimiterOptions', 'RouteRateLimitOptions', 'RunLimitedOptions', 'Stage', 'Tiered', 'WaitOptions']
  },
  './loop': { values: ['default'], types: ['Loop', 'LoopOptions', 'LoopRefusalReason', 'LoopStats', 'RouteCost', 'RouteLoopOptions'] },
  './tasks': {
    values: ['default', 'defineTasks'],
    types: ['Backoff', 'ConsumingProcess', 'DelayedTask', 'DuplicatePolicy', 'Engine', 'EngineFactory', 'EngineHost', 'EngineOperations', 'EnqueueOptions', 'FailedOptions', 'FailedTask', 'Group', 'GroupContext', 'GroupFunction', 'GroupOptions', 'InspectOptions', 'Inspection', 'MapFunction', 'NamedTask', 'Operating', 'Operations', 'QueueStats', 'RedisToDuplicate',
      'Register', 'ReserveOptions', 'ReservedPlace', 'RunningTask', 'Schedule', 'ScheduleOptions', 'ScheduleState', 'ScheduledTask', 'SubmitOptions', 'TaskContext', 'TaskDefinition', 'TaskDefinitions', 'TaskEnd', 'TaskFunction', 'TaskHandle', 'TaskRefusalReason', 'TaskRunOptions', 'TaskStatus',
      'Tasks', 'TasksOptions', 'TasksStats', 'TraceCarrier', 'Unfinished', 'WaitingTask']
  },
  './locks': { values: ['default'], types: ['AcquireOptions', 'Lock', 'LockRefusalReason', 'Locks', 'LocksOptions', 'LocksStats', 'Mutex', 'RwLock', 'Semaphore'] },
  './metrics': {
    values: ['bucketBounds', 'default'],
    types: ['BoundMetrics', 'DurationsSnapshot', 'EventLoopSnapshot', 'JobMetrics', 'LimitMetrics', 'LockMetrics', 'LoopMetrics', 'Metrics', 'MetricsOptions', 'MetricsRegistry', 'MetricsSnapshot', 'PoolMetrics', 'QueueMetrics', 'ReaderOptions', 'TaskMetrics']
  },
  './tracing': { values: ['default'], types: ['TracingOptions', 'TracingProvider'] },
  './dashboard': { values: ['default'], types: ['Authorize', 'DashboardOptions', 'Payloads'] },
  './jobs': {
    values: ['SharedCounter', 'SharedFlag', 'defineJobs', 'transfer'],
    types: ['JobContext', 'JobDefinition', 'JobFunction', 'JobLogger', 'JobModule', 'JobModules', 'Jobs', 'Priority', 'Transferable']
  },
  './testing': { values: ['assertIdle'], types: ['AssertIdleOptions'] }
}

const entries = Object.entries(manifest.exports).filter((entry): entry is [string, Conditions] => typeof entry[1] !== 'string')
const compiled = program('tsconfig.build.json')

t.test('there is a subpath for each capability', async (t) => {
  t.strictSame(Object.keys(manifest.exports), [...Object.keys(surface), './package.json'])
})

t.test('test/api.txt is the public API: `npm run api` writes it, and a change of it is for a reviewer to see', async (t) => {
  const expected = readFileSync(apiFile, 'utf8').split('\n')
  const lines = apiOf(compiled, sourcesOf(manifest.exports)).split('\n')
  const at = lines.findIndex((line, index) => line !== expected[index])
  t.equal(at, -1, at === -1 ? 'equal' : `line ${at + 1}: ${expected[at]} has become ${lines[at]}`)
  t.equal(lines.length, expected.length)
})

for (const [subpath, conditions] of entries) {
  t.test(`what ${subpath} exports`, async (t) => {
    t.strictSame(exportsOf(compiled, conditions['fastify-concurrency-source']), surface[subpath])
    const loaded = await import(manifest.name + subpath.slice(1)) as object
    const internal = subpath === './jobs' ? ['asTransfer', 'collectJobs', 'isJobs'] : []
    t.strictSame(Object.keys(loaded).sort(), [...surface[subpath]?.values ?? [], ...internal].sort())
  })

  t.test(`the build puts ${subpath} where package.json says it is`, async (t) => {
    const source = conditions['fastify-concurrency-source']
    t.strictSame(conditions, {
      // First: the others hold wherever this one does.
      'fastify-concurrency-source': source,
      types: source.replace('./', './dist/').replace(/\.ts$/, '.d.ts'),
      default: source.replace('./', './dist/').replace(/\.ts$/, '.js')
    })
    t.strictSame(Object.keys(conditions), ['fastify-concurrency-source', 'types', 'default'])
  })
}

type Coded = Error & { code: string, statusCode: number | undefined }
type ErrorClass = new (...args: unknown[]) => Coded

const exported = errorNames.map((name) => [name, (suite as unknown as Record<string, ErrorClass>)[name]!] as const)

t.test('instanceof tells each exported error class from every other, and says that it is an Error', async (t) => {
  for (const [name, Class] of exported) {
    const error = new Class('x', {}, {})
    t.ok(error instanceof Error, name)
    t.strictSame(exported.filter(([, Other]) => error instanceof Other).map(([other]) => other), [name])
    for (const value of [undefined, null, 'x', new Error('another'), {}]) t.notOk((value as unknown) instanceof Class, name)
  }
})

t.test('each error has the fields of http-errors, by which frameworks with error handling of their own know its status', async (t) => {
  for (const [name, Class] of exported) {
    const error = new Class('x', {}, {}) as Coded & { status?: number, expose?: boolean }
    t.equal(error.status, error.statusCode, name)
    t.equal(error.expose, true, name)
    t.notOk(Object.keys(error).includes('status'), 'not among what is logged')
  }
})

t.test('each error class that answers 429 or 503 is a refusal, and captures no stack', async (t) => {
  const refusals: string[] = []
  for (const [name, Class] of exported) {
    const error = new Class('x', {}, {})
    if (!isRefusal(error)) {
      t.notOk([429, 503].includes(error.statusCode ?? 0), `${name} answers ${error.statusCode}`)
      continue
    }
    refusals.push(name)
    t.equal(error.stack, `${error.name}: ${error.message}`, name)
  }
  t.ok(refusals.length > 5)
  for (const value of [undefined, null, { code: 'FC_ERR_CLOSING' }, new Error('x')]) t.equal(isRefusal(value), false)
})

t.test('an error that a client or a timer causes captures no stack: its `stack` is the line of the message', async (t) => {
  const { JobAbortedError, JobTimeoutError, LimitWaitAbortedError, TaskAbortedError, TaskTimeoutError } = errorClasses
  for (const error of [
    new JobAbortedError('j', { cause: new Error('left') }), new JobTimeoutError('j', 1, 'queued'), new LimitWaitAbortedError('p'),
    new TaskAbortedError('t', 'why'), new TaskTimeoutError('t', 1)
  ]) {
    t.equal(error.stack, `FastifyError: ${error.message}`)
    error.stack = 'of a tool that keeps stacks of its own'
    t.equal(error.stack, 'of a tool that keeps stacks of its own')
  }
  t.match(new errorClasses.GroupEndedError().stack, /exports\.test/, 'the stack of a caller\'s mistake is kept')
})

t.test('ChannelMessages has a type for the messages of each channel', async (t) => {
  const file = join(root, 'plugins/channel-messages.ts')
  const checker = compiled.getTypeChecker()
  const symbol = checker.getExportsOfModule(checker.getSymbolAtLocation(compiled.getSourceFile(file)!)!).find(({ name }) => name === 'ChannelMessages')
  const names = checker.getDeclaredTypeOfSymbol(symbol!).getProperties().map((property) => {
    t.ok(checker.getTypeOfSymbol(property).getProperties().length > 0, property.name)
    return property.name
  })
  const plugins = ['lifecycle', 'limiter', 'locks', 'loop', 'tasks', 'workers']
  const modules = await Promise.all(plugins.map(async (plugin) => await import(`../plugins/${plugin}/channels.ts`) as Record<string, { name: string }>))
  t.strictSame(names.sort(), modules.flatMap((module) => Object.values(module).map(({ name }) => name)).sort())
})
