import underPressure from '@fastify/under-pressure'

export const autoConfig = { maxEventLoopDelay: 60_000, message: 'The server is under pressure', retryAfter: 50, exposeStatusRoute: '/status' }
export default underPressure
