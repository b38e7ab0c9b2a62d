// The jobs of the benchmarks. Peers run the same functions.
import { defineJobs } from 'fastify-concurrency/jobs'

export const jobs = defineJobs(import.meta.url, {
  identity: { load: () => import('./jobs/identity.mjs') },
  spin: { load: () => import('./jobs/spin.mjs') },
  counted: { load: () => import('./jobs/counted.mjs') },
  sleep: { load: () => import('./jobs/sleep.mjs') },
  cappedSleep: { load: () => import('./jobs/sleep.mjs'), concurrency: 1 },
  nap: { load: () => import('./jobs/sleep.mjs') },
  cooperativeAsync: { load: () => import('./jobs/cooperative-async.mjs') },
  cooperativeLoop: { load: () => import('./jobs/cooperative-loop.mjs') },
  stubborn: { load: () => import('./jobs/stubborn.mjs') },
  startedAt: { load: () => import('./jobs/started-at.mjs') },
  die: { load: () => import('./jobs/die.mjs') }
})
