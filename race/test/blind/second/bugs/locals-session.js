// expressjs/session#143: the session of a request is put into a variable of the application, which the template reads later.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const build = (isFixed) => () => {
  const app = Fastify()
  app.decorate('locals', { session: undefined })
  app.decorateRequest('session', null)
  const template = async (name) => { await sleep(name === 'slow' ? 4 : 1); return (session) => `token=${session.token}` }

  app.addHook('preHandler', async (request) => {
    request.session = { token: request.headers.authorization }
    app.locals.session = request.session
  })
  app.get('/page/:name', async (request) => {
    const render = await template(request.params.name)
    return render(isFixed ? request.session : app.locals.session)
  })
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = [{ url: '/page/slow', headers: { authorization: 'ann' } }, { url: '/page/quick', headers: { authorization: 'bob' } }]
