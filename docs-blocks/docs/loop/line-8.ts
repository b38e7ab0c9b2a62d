import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'

const app = Fastify()
await app.register(concurrency, { loop: {} })

app.get('/live', { config: { loop: false } }, () => ({ status: 'live' }))                            // never held
app.get('/report', { config: { loop: { key: (request) => String(request.headers['x-tenant']) } } }, () => report())

function report () { return { rows: [] } }
export {}
