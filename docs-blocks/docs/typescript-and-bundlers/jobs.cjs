// jobs.cjs
const { defineJobs } = require('fastify-concurrency/jobs')

const square = (n) => n * n

exports.jobs = defineJobs(__filename, { square })
