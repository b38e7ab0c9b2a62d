// The public surface: adding to it is a decision, and removing from it breaks somebody.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { exportsOf, program, root } from './compiler.ts'

interface Conditions { 'fastify-concurrency-source': string, types: string, default: string }

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { name: string, exports: Record<string, Conditions | string> }

const surface: Record<string, { values: string[], types: string[] }> = {
  '.': {
    values: ['default', 'definePolicies'],
    types: ['Abandoned', 'CancellationOptions', 'ConcurrencyOptions', 'Group', 'JobName', 'JobPayload', 'JobResult', 'JobStats', 'Lifecycle', 'LifecycleOptions',
      'Limiter', 'LimiterOptions', 'Percentiles', 'Phase', 'Policies', 'Policy', 'PoolStats', 'RefusalReason', 'Register', 'RunOptions', 'ShutdownReport',
      'TaskContext', 'TaskHandle', 'Tasks', 'TasksOptions', 'TasksStats', 'Workers', 'WorkersOptions']
  },
  './workers': {
    values: ['default'],
    types: ['JobName', 'JobPayload', 'JobResult', 'JobStats', 'Percentiles', 'PoolStats', 'Register', 'RunOptions', 'Workers', 'WorkersOptions']
  },
  './cancellation': { values: ['currentRequest', 'default', 'outsideRequest'], types: ['CancellationOptions'] },
  './lifecycle': { values: ['default'], types: ['Abandoned', 'Goodbye', 'Lifecycle', 'LifecycleOptions', 'Phase', 'ShutdownReport'] },
  './limiter': {
    values: ['default', 'definePolicies'],
    types: ['Limiter', 'LimiterOptions', 'Peek', 'Policies', 'Policy', 'PolicyName', 'RedisClient', 'Register', 'Reservation', 'ReserveOptions',
      'RouteLimiterOptions', 'WaitOptions']
  },
  './tasks': {
    values: ['default', 'defineTasks'],
    types: ['Abandoned', 'DuplicatePolicy', 'Engine', 'EngineFactory', 'EngineHost', 'EnqueueOptions', 'Group', 'GroupContext', 'GroupFunction', 'GroupOptions',
      'NamedTask', 'Register', 'Reservation', 'RunOptions', 'SubmitOptions', 'TaskContext', 'TaskDefinition', 'TaskDefinitions', 'TaskFunction', 'TaskHandle',
      'TaskStatus', 'Tasks', 'TasksOptions', 'TasksStats']
  },
  './jobs': {
    values: ['defineJobs', 'transfer'],
    types: ['JobContext', 'JobDefinition', 'JobFunction', 'JobLogger', 'JobModule', 'JobModules', 'Jobs', 'Priority', 'Transferable']
  },
  './testing': { values: ['assertIdle'], types: ['AssertIdleOptions'] }
}

const entries = Object.entries(manifest.exports).filter((entry): entry is [string, Conditions] => typeof entry[1] !== 'string')
const compiled = program('tsconfig.build.json')

t.test('there is a subpath for each capability', async (t) => {
  t.strictSame(Object.keys(manifest.exports), [...Object.keys(surface), './package.json'])
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
