import cookie from '@fastify/cookie'
import session from '@fastify/session'
import fp from 'fastify-plugin'

export default fp(async (app) => {
  await app.register(cookie)
  await app.register(session, { secret: 'a secret of at least thirty-two characters', cookie: { secure: false }, saveUninitialized: false })
}, { name: 'session' })
