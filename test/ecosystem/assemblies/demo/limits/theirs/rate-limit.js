import rateLimit from '@fastify/rate-limit'

export const autoConfig = { max: 20, timeWindow: '1 hour' }
export default rateLimit
