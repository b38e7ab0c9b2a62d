// What the register calls accept.
import { BasicTracerProvider } from '@opentelemetry/sdk-trace-base'
import Fastify from 'fastify'
import concurrency, { type ConcurrencyOptions, type LifecycleOptions } from 'fastify-concurrency'
import dashboard, { type DashboardOptions } from 'fastify-concurrency/dashboard'
import lifecycle from 'fastify-concurrency/lifecycle'
import type { LimiterOptions, Policy, RouteLimiterOptions } from 'fastify-concurrency/limiter'
import type { SubmitOptions, TasksOptions } from 'fastify-concurrency/tasks'
import type { JobDefinition } from 'fastify-concurrency/jobs'
import tracing, { type TracingOptions } from 'fastify-concurrency/tracing'
import workers, { type RunOptions, type WorkersOptions } from 'fastify-concurrency/workers'
import type { dashboardOptionNames } from '../../plugins/dashboard/options.ts'
import type { lifecycleOptionNames } from '../../plugins/lifecycle/options.ts'
import type { limiterOptionNames } from '../../plugins/limiter/options.ts'
import type { policyOptionNames } from '../../plugins/limiter/policies/policy.ts'
import type { routeOptionNames } from '../../plugins/limiter/route-rules.ts'
import type { tasksOptionNames } from '../../plugins/tasks/options.ts'
import type { submitOptionNames } from '../../plugins/tasks/task-options.ts'
import type { tracingOptionNames } from '../../plugins/tracing/options.ts'
import type { runOptionNames, workersOptionNames } from '../../plugins/workers/options.ts'
import type { jobOptionNames } from '../../plugins/workers/registry.ts'
import { holds, type Equal } from './equal.ts'
import { jobs } from './jobs.ts'

const app = Fastify()

await app.register(concurrency, { workers: { jobs } })
await app.register(concurrency, { workers: false, lifecycle: false, ambient: false })
await app.register(concurrency, { workers: { jobs, maxThreads: 2, resourceLimits: { maxOldGenerationSizeMb: 256 } }, lifecycle: { delay: 1_000, readyPath: false } })
await app.register(workers, { jobs, decorator: 'images', execArgv: ['--no-warnings'], env: { NODE_ENV: 'test' } })
await app.register(lifecycle, {})
await app.register(lifecycle)
await app.register(tracing)
await app.register(tracing, { tracerProvider: new BasicTracerProvider() })
await app.register(concurrency, { tracing: { tracerProvider: new BasicTracerProvider() } })

await app.register(concurrency, { dashboard: { path: '/ops', authorize: async (request) => request.headers.authorization === 'secret' } })
await app.register(dashboard, { prefix: '/admin', authorize: (_request, reply) => reply.sent })
// @ts-expect-error: no boolean
await app.register(concurrency, { dashboard: { authorize: () => 'yes' } })
// @ts-expect-error: misspelt
export const misspeltDashboard: DashboardOptions = { autorize: () => true }
// @ts-expect-error: misspelt
export const misspelt: WorkersOptions = { jobs, maxThread: 2 }
// @ts-expect-error: which jobs?
export const jobless: WorkersOptions = {}
// @ts-expect-error: a part that isn't there
export const unknownPart: ConcurrencyOptions = { workers: { jobs }, worker: {} }
// @ts-expect-error: not from defineJobs()
export const bare: WorkersOptions = { jobs: { length: () => import('./jobs/length.ts') } }

// @ts-expect-error: misspelt
await app.register(concurrency, { workers: { jobs, maxThread: 2 } })
await app.register(concurrency, {})
await app.register(concurrency)
// @ts-expect-error: workers: { jobs }
await app.register(concurrency, { jobs })
// @ts-expect-error: of another type
await app.register(workers, { jobs, maxThreads: '2' })
// @ts-expect-error: no provider
await app.register(tracing, { tracerProvider: {} })
// @ts-expect-error: misspelt
export const misspeltTracing: TracingOptions = { provider: new BasicTracerProvider() }
// @ts-expect-error: a path or false
await app.register(lifecycle, { livePath: true })

// What is checked when the app boots are the options that there are.
type Names<List extends readonly unknown[]> = List[number]
holds<Equal<Names<typeof workersOptionNames>, keyof WorkersOptions>>()
holds<Equal<Names<typeof runOptionNames>, keyof RunOptions>>()
holds<Equal<Names<typeof jobOptionNames>, keyof JobDefinition>>()
holds<Equal<Names<typeof dashboardOptionNames>, keyof DashboardOptions>>()
holds<Equal<Names<typeof lifecycleOptionNames>, keyof LifecycleOptions>>()
holds<Equal<Names<typeof limiterOptionNames>, keyof LimiterOptions>>()
holds<Equal<Names<typeof policyOptionNames>, keyof Policy>>()
holds<Equal<Names<typeof routeOptionNames>, keyof RouteLimiterOptions>>()
holds<Equal<Names<typeof tasksOptionNames>, keyof TasksOptions>>()
holds<Equal<Names<typeof submitOptionNames>, keyof SubmitOptions>>()
holds<Equal<Names<typeof tracingOptionNames>, keyof TracingOptions>>()
