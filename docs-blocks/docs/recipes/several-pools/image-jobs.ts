// image-jobs.ts
import { defineJobs } from 'fastify-concurrency/jobs'

const invert = (pixels: number[]): number[] => pixels.map((pixel) => 255 - pixel)

export const imageJobs = defineJobs(import.meta.url, { invert })
