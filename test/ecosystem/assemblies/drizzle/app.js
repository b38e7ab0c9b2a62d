/** Drizzle on SQLite: handlers that aren't async return queries, which run when their `then` is called, each time that it is called. */
import Database from 'better-sqlite3'
import closeWithGrace from 'close-with-grace'
import { count } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/better-sqlite3'
import { drizzle as proxied } from 'drizzle-orm/sqlite-proxy'
import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import { jobs } from '../shared/jobs.js'
import { watch } from '../shared/watch.js'
import { work } from '../shared/work.js'

const users = sqliteTable('users', { id: integer().primaryKey(), name: text().notNull() })

const sqlite = new Database(':memory:')
sqlite.exec('create table users (id integer primary key, name text not null)')
const db = drizzle(sqlite)

const app = Fastify({ logger: true })
watch(app)
await app.register(concurrency, { workers: { jobs, maxThreads: 2 } })

// A database that takes its time: the query is in flight for as long as the job.
const slow = (request) => proxied(async (query, params) => {
  await work(request, request.query.ms)
  return { rows: sqlite.prepare(query).raw().all(params) }
})

app.post('/users', (request) => db.insert(users).values({ name: request.query.name }).returning())
app.post('/slow-users', (request) => slow(request).insert(users).values({ name: request.query.name }).returning())
app.get('/users', () => db.select({ count: count() }).from(users).get())
app.addHook('onClose', async () => { sqlite.close() })
// Drizzle wraps the error of a job whose client has left, and hides its status: it would be logged as an error of the server.
app.setErrorHandler((error, request, reply) => {
  if (!request.disconnected.aborted) throw error
  reply.code(499).send()
})

closeWithGrace({ delay: 10_000, logger: app.log }, ({ signal }) => app.lifecycle.shutdown(signal))
await app.listen({ port: 0, host: '127.0.0.1' })
