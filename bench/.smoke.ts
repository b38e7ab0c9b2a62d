import Fastify from 'fastify'
import tasks from '/work/wt/tasks/plugins/tasks/index.ts'
import PQueue from 'p-queue'
import fastq from 'fastq'
const app = Fastify()
await app.register(tasks, { maxQueue: 200_000, stacks: process.env.STACKS === '1' })
await app.ready()
const N = 100_000
for (let round = 0; round < 3; round++) {
  let t = performance.now()
  for (let i = 0; i < N; i++) app.tasks.submit('t:' + i, async () => {})
  await app.tasks.idle()
  console.log('ours', Math.round(N / (performance.now() - t)), 'k/s')
  const q = new PQueue({ concurrency: 64 })
  t = performance.now()
  for (let i = 0; i < N; i++) void q.add(async () => {})
  await q.onIdle()
  console.log('p-queue', Math.round(N / (performance.now() - t)), 'k/s')
  const f = fastq.promise(async (fn: () => Promise<void>) => fn(), 64)
  t = performance.now()
  for (let i = 0; i < N; i++) void f.push(async () => {})
  await f.drained()
  console.log('fastq', Math.round(N / (performance.now() - t)), 'k/s')
}
await app.close()
