import t from 'tap'
import Fastify from 'fastify'
import workersPlugin, { type WorkersOptions } from '../../plugins/workers/index.ts'
import { resolveOptions, workersOptionNames } from '../../plugins/workers/options.ts'
import { defineJobs, type Jobs } from '../../workers/jobs.ts'
import { jobs } from '../fixtures/jobs.ts'
import { rejection, startApp } from '../helper.ts'

const load = (): Promise<() => void> => Promise.resolve(() => {})
const withJob = (definition: object): Jobs => defineJobs(import.meta.url, { job: { load, ...definition } })

for (const [option, expected, options] of [
  ['workers.jobs', 'what defineJobs() returns, received {}', { jobs: {} }],
  ['workers.jobs', 'what defineJobs() returns, received undefined', { jobs: undefined }],
  ['workers.jobs', 'at least one job', { jobs: defineJobs(import.meta.url, {}) }],
  ['workers.jobs.job.load', 'a function, received \'./job.ts\'', { jobs: withJob({ load: './job.ts' }) }],
  ['workers.jobs.job.timeout', 'milliseconds from 1', { jobs: withJob({ timeout: 0 }) }],
  ['workers.jobs.job.concurrency', 'a whole number of at least 1, received 0.5', { jobs: withJob({ concurrency: 0.5 }) }],
  ['workers.jobs.job.priority', 'one of \'high\', \'normal\', \'low\', received \'urgent\'', { jobs: withJob({ priority: 'urgent' }) }],
  ['workers.jobs.job.retries', 'one of the options load, timeout', { jobs: withJob({ retries: 2 }) }],
  ['workers.jobs.job', 'a function, or an object with load(), received \'./job.ts\'', { jobs: defineJobs(import.meta.url, { job: './job.ts' as never }) }],
  ['workers.maxThread', 'one of the options', { maxThread: 2 }],
  ['workers.minThreads', 'in its place nothing: all threads (maxThreads) start at boot', { minThreads: 1 }],
  ['workers.idleTimeout', 'in its place nothing: idle threads keep what they have loaded', { idleTimeout: 1_000 }],
  ['workers.filename', 'jobs, the result of defineJobs()', { filename: './worker.js' }],
  ['workers.workerData', 'a module of a job loads what it needs at its top level', { workerData: 1 }],
  ['workers.concurrentTasksPerWorker', 'a thread runs one job at a time', { concurrentTasksPerWorker: 4 }],
  ['workers.decorator', 'a string that is not empty', { decorator: '' }],
  ['workers.maxThreads', 'a whole number from 1 to 1024, received 0', { maxThreads: 0 }],
  ['workers.maxThreads', 'received \'2\'', { maxThreads: '2' }],
  ['workers.maxThreads', 'received NaN', { maxThreads: NaN }],
  ['workers.maxQueue', 'a whole number of at least 0, received -1', { maxQueue: -1 }],
  ['workers.maxQueue', 'received Infinity', { maxQueue: Infinity }],
  ['workers.maxWait', 'milliseconds from 1', { maxWait: 0 }],
  ['workers.targetWait', 'milliseconds from 1', { targetWait: -5 }],
  ['workers.targetWait', 'at most maxWait (50), received 100', { maxWait: 50, targetWait: 100 }],
  ['workers.orderWait', 'milliseconds from 1', { orderWait: 0 }],
  ['workers.orderWait', 'at most maxWait (500), received 600', { maxWait: 500, orderWait: 600 }],
  ['workers.targetWait', 'at most orderWait (50), received 100', { orderWait: 50, targetWait: 100 }],
  ['workers.orderWait', 'milliseconds from 1', { orderWait: NaN }],
  ['workers.targetWait', 'milliseconds from 1', { targetWait: 10n }],
  ['workers.targetWait', 'milliseconds from 1', { targetWait: {}, maxWait: 500 }],
  ['workers.timeout', 'milliseconds', { timeout: 0 }],
  ['workers.timeout', 'received 3000000000', { timeout: 3e9 }],
  ['workers.grace', 'milliseconds from 0', { grace: -1 }],
  ['workers.closeTimeout', 'milliseconds', { closeTimeout: '10s' }],
  ['workers.resourceLimits', 'an object', { resourceLimits: 64 }],
  ['workers.resourceLimits.maxHeap', 'one of the options', { resourceLimits: { maxHeap: 64 } }],
  ['workers.resourceLimits.stackSizeMb', 'a number', { resourceLimits: { stackSizeMb: '4' } }],
  ['workers.execArgv', 'an array', { execArgv: '--import x' }],
  ['workers.execArgv[0]', 'a string', { execArgv: [1] }],
  ['workers.execArgv', 'Node options that a worker thread takes', { execArgv: ['--no-such-option'] }],
  ['workers.env', 'an object', { env: 'A=1' }],
  ['workers.env.A', 'a string, received 1', { env: { A: 1 } }],
  ['workers.ambient', 'true or false', { ambient: 'yes' }]
] as Array<[string, string, object]>) {
  t.test(`${option} is refused at boot: ${expected}`, async (t) => {
    const app = Fastify()
    t.teardown(() => app.close())
    const error = await rejection(Promise.resolve(app.register(workersPlugin, { jobs, ...options } as unknown as WorkersOptions).ready()))
    t.match(error, { code: 'FC_ERR_OPTION_INVALID' })
    t.ok(error.message.startsWith(`Option "${option}": expected `) && error.message.includes(expected), error.message)
  })
}

t.test('options are resolved, not changed, and undefined means the default', async (t) => {
  const options: WorkersOptions = { jobs, timeout: Infinity, grace: 0, maxQueue: 0 }
  const before = { ...options }
  const resolved = resolveOptions({ ...options, maxThreads: undefined as never })
  t.match(resolved, { decorator: 'workers', timeout: Infinity, grace: 0, maxQueue: 0, closeTimeout: 10_000, ambient: true })
  t.ok(resolved.maxThreads >= 1)
  t.same(options, before)
  t.ok(Object.keys(resolved).every((name) => (workersOptionNames as readonly string[]).includes(name)))
})

t.test('the options of a run', async (t) => {
  const { workers } = await startApp(t)
  for (const [option, options] of [
    ['run.signal', { signal: {} }],
    ['run.timeout', { timeout: -1 }],
    ['run.timeout', { timeout: NaN }],
    ['run.priority', { priority: 'urgent' }],
    ['run.key', { key: 7 }],
    ['run.detached', { detached: 1 }],
    ['run.transferList', { transferList: new ArrayBuffer(1) }],
    ['run.onProgress', { onProgress: true }],
    ['run.timeOut', { timeOut: 5 }],
    ['run.abortSignal', { abortSignal: AbortSignal.abort() }]
  ] as Array<[string, object]>) {
    t.match(await rejection(workers.run('echo', 1, options)), { code: 'FC_ERR_OPTION_INVALID', message: new RegExp(`^Option "${option}": expected `) })
  }
  t.match(await rejection(workers.run('echo', 1, null as never)), { code: 'FC_ERR_OPTION_INVALID', message: /^Option "run"/ })
  t.match(await rejection(workers.run('echo', 1, { transferList: [{} as ArrayBuffer] })), { code: 'FC_ERR_PAYLOAD_NOT_CLONEABLE' })
  t.match(await rejection(workers.run('spin', { ms: 10_000 }, { timeout: 0 })), { code: /FC_ERR_(JOB_TIMEOUT|WORKERS_OVERLOADED)/ })
})

t.test('defineJobs without import.meta.url, or without jobs, says what to pass', async (t) => {
  const define = defineJobs as (...args: unknown[]) => unknown
  const { proxy: revoked, revoke } = Proxy.revocable({}, {})
  revoke()
  const needsUrl = /^defineJobs\(\) expected import\.meta\.url as the first argument, .* received a value of type /
  for (const url of [{ job: () => 1 }, undefined, Symbol('url'), revoked, () => {}]) {
    t.throws(() => define(url, {}), { code: 'FC_ERR_JOBS_INVALID', message: needsUrl })
  }
  for (const jobs of [undefined, null, revoked]) {
    const message = /expected an object of jobs as the second argument, and received /
    t.throws(() => define(import.meta.url, jobs), { code: 'FC_ERR_JOBS_INVALID', message })
  }
})

t.test('defineJobs takes a path, as CommonJS has it', async (t) => {
  const { workers } = await startApp(t, { jobs: { ...jobs, url: new URL('../fixtures/jobs.ts', import.meta.url).pathname } as typeof jobs })
  t.equal(await workers.run('echo', 1), 1)
})
