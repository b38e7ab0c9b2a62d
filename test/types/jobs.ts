import { defineJobs } from 'fastify-concurrency/jobs'

export const jobs = defineJobs(import.meta.url, {
  thumbnail: { load: () => import('./jobs/thumbnail.ts'), timeout: 5_000, concurrency: 1 },
  length: { load: async () => (await import('./jobs/length.ts')).default, priority: 'high' },
  greet: { load: () => import('./jobs/greet.ts') },
  tick: { load: () => import('./jobs/tick.ts'), timeout: Infinity },
  legacy: { load: () => import('./jobs/legacy.cjs') }
})

export const otherJobs = defineJobs(new URL(import.meta.url), {
  other: { load: () => import('./jobs/tick.ts') }
})
