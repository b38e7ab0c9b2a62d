// nodeSolidServer/node-solid-server#1106: a PATCH reads the file, parses it, patches the graph and writes it, with callbacks.
import Fastify from 'fastify'

const build = (isFixed) => () => {
  const app = Fastify()
  const resources = { '/card': ['name "Ann"'] }
  const busy = {}
  const ldp = {
    get (path, done) { const lines = resources[path].slice(); setTimeout(() => done(null, lines), 1) },
    put (path, lines, done) { setTimeout(() => { resources[path] = lines; done(null) }, 1) }
  }

  app.patch('/card/:statement', (request, reply) => {
    if (isFixed && busy['/card']) return reply.code(409).send({ error: 'locked' })
    busy['/card'] = isFixed
    ldp.get('/card', (error, graph) => {
      if (error) return reply.send(error)
      graph.push(request.params.statement)
      ldp.put('/card', graph, (failure) => {
        busy['/card'] = false
        reply.send(failure ?? { patched: true })
      })
    })
  })
  app.get('/card', async () => resources['/card'])
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = ['/card/a', '/card/b'].map((url) => ({ method: 'PATCH', url }))
