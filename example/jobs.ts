// The jobs by name. The main thread imports this file for its names and types; each thread imports it to load the jobs.
import { defineJobs } from 'fastify-concurrency/jobs'

export const jobs = defineJobs(import.meta.url, {
  thumbnail: { load: () => import('./jobs/thumbnail.ts'), timeout: 30_000 },
  search: { load: () => import('./jobs/search.ts'), timeout: 30_000 },
  password: { load: () => import('./jobs/password.ts'), timeout: 5_000 },
  verifyPassword: { load: () => import('./jobs/verify-password.ts'), timeout: 5_000 },
  // Two jobs as no job should be: the buttons of the page start them, to show what the service does about them.
  stubborn: { load: () => import('./jobs/stubborn.ts'), timeout: 20_000 },
  hungry: { load: () => import('./jobs/hungry.ts'), timeout: 20_000 }
})

declare module 'fastify-concurrency' {
  interface Register { jobs: typeof jobs }
}
