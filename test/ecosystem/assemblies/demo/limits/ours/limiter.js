import limiter from 'fastify-concurrency/limiter'

export const autoConfig = { policies: { client: { rate: 20, per: 'hour', burst: 20, key: 'address' } } }
export default limiter
