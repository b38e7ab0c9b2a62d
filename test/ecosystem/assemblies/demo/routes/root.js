export default async function (app) {
  app.get('/', async () => ({ message: 'Welcome' }))

  app.post('/login', { config: { rateLimit: { max: 3, timeWindow: '1 hour' } } }, async (request, reply) => {
    const { name, password } = request.body
    if (password !== 'right') {
      reply.code(401)
      return { message: 'Invalid name or password' }
    }
    request.session.user = name
    await request.session.save()
    return { success: true }
  })

  app.get('/me', { preHandler: async (request, reply) => request.session.user === undefined ? reply.code(401).send({ message: 'Log in first' }) : undefined },
    async (request) => ({ name: request.session.user }))
}
