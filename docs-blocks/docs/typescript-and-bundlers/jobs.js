// jobs.js
import { defineJobs } from 'fastify-concurrency/jobs'

const square = (n) => n * n

export const jobs = defineJobs(import.meta.url, { square })
