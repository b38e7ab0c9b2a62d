/**
 * What clients that leave leave behind: heap of a server after 10,000 clients that left in one way, with the suite registered (with and without
 * `await`) and without it. Each server is a process of its own; the heap is read after a garbage collection, before and after the 10,000.
 *
 *   node bench/leavers.mjs --way stream,hook --clients 20000
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import { jobs } from './jobs.mjs'
import { portOf } from './lib/app.mjs'
import { keys, Report } from './lib/report.mjs'

const get = (/** @type {string} */ path) => `GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`
/** What a client sends, and what it waits for before it destroys its socket: ms, or the first bytes of the answer. */
const WAYS = {
  headers: { sends: 'GET /handler HTTP/1.1\r\nhost', leaves: 2 },
  body: { sends: 'POST /body HTTP/1.1\r\nhost: a\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\n0123456789', leaves: 5 },
  handler: { sends: get('/handler'), leaves: 5 },
  never: { sends: get('/never'), leaves: 5 },
  work: { sends: get('/work'), leaves: 5 },
  stream: { sends: get('/stream'), leaves: 'data' },
  hijacked: { sends: get('/hijacked'), leaves: 'data' },
  hook: { sends: get('/hook'), leaves: 'close' }
}
const SERVERS = { bare: 'bare Fastify', awaited: 'ours, awaited', immediate: 'ours, not awaited' }
const IN_FLIGHT = 50
/** MB of heap by which a server of ours may end above the bare one. */
const HEAP = 3

/** @param {string} registration */
async function serve (registration) {
  setFlagsFromString('--expose-gc')
  const gc = /** @type {() => void} */ (runInNewContext('gc'))
  const app = Fastify()
  if (registration === 'awaited') await app.register(concurrency, { workers: { jobs } })
  if (registration === 'immediate') app.register(concurrency, { workers: { jobs } })
  app.addHook('onRequest', (request, _reply, done) => {
    // As a plugin that bans a client does it: the request is never answered.
    if (request.url === '/hook') request.raw.socket.destroy()
    else done()
  })
  app.post('/body', async (request) => request.body)
  app.get('/handler', async () => sleep(20, 'late'))
  app.get('/never', () => new Promise(() => {}))
  // Long enough for the client to leave while the job waits or runs.
  app.get('/work', async () => app.workers === undefined ? sleep(20, 'late') : app.workers.run('spin', 1_000_000))
  app.get('/stream', async () => Readable.from((async function * () { while (true) { yield 'x'.repeat(100); await sleep(10) } })()))
  app.get('/hijacked', (_request, reply) => {
    reply.hijack()
    reply.raw.write('event')
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  process.on('message', async () => {
    // Until all that ends by a timer or a socket has ended.
    await sleep(1_000)
    for (let i = 0; i < 3; i++) {
      gc()
      await sleep(50)
    }
    process.send?.({ heap: process.memoryUsage().heapUsed })
  })
  process.send?.({ port: portOf(app) })
}

/** @param {number} port @param {{ sends: string, leaves: string | number }} way */
async function leave (port, { sends, leaves }) {
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  await once(socket, 'connect')
  const closed = once(socket, 'close')
  socket.write(sends)
  await (typeof leaves === 'number' ? sleep(leaves) : Promise.race([once(socket, leaves), closed]))
  socket.destroy()
  await closed
}

/** @param {string} registration @param {keyof typeof WAYS} way @param {number} clients @returns MB */
async function growth (registration, way, clients) {
  const child = fork(fileURLToPath(import.meta.url), ['serve', registration])
  const ask = async () => {
    child.send('heap')
    const [{ heap }] = await once(child, 'message')
    return heap / 2 ** 20
  }
  const [{ port }] = await once(child, 'message')
  const run = async (/** @type {number} */ count) => {
    let left = count
    await Promise.all(Array.from({ length: IN_FLIGHT }, async () => { while (left-- > 0) await leave(port, WAYS[way]) }))
  }
  // Until caches and compiled code are there.
  await run(clients / 5)
  const before = await ask()
  await run(clients)
  const after = await ask()
  child.kill('SIGKILL')
  return after - before
}

if (process.argv[2] === 'serve') await serve(process.argv[3] ?? '')
else {
  const report = new Report('leavers', { way: keys(WAYS).join(), clients: '10000' })
  const clients = report.number('clients')
  const rows = []
  for (const way of report.list('way', keys(WAYS))) {
    /** @type {Record<string, number>} */
    const grown = {}
    for (const server of keys(SERVERS)) grown[SERVERS[server]] = await growth(server, way, clients)
    rows.push({ way, ...grown })
  }
  report.table(`MB of heap that ${clients} clients left behind, by the way in which they left`, rows)
  for (const server of [SERVERS.awaited, SERVERS.immediate]) {
    report.bar(`${server}: above bare, worst way`, Math.max(...rows.map((row) => row[server] - row[SERVERS.bare])), '<=', HEAP, ' MB')
  }
  report.end()
}
