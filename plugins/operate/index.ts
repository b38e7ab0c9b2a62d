/**
 * The operate plugin answers probes and scrapes on a port of its own: of a worker process, which serves no requests, and
 * of a service whose metrics are not for its clients. The port opens when the application is ready, and closes after the
 * other parts of the suite, so that a shutdown is seen to its end.
 *
 * It is a server beside Fastify's: no hook of the application runs for its requests, no limit applies to them, and a
 * shutdown doesn't wait for them. What it answers comes from the parts that are registered after it: see
 * shared/http/endpoints.ts.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { json, openEndpoints, type Endpoints } from '../shared/http/endpoints.ts'
import { logSafely } from '../shared/log.ts'
import { resolveOptions, type OperateOptions } from './options.ts'

export type { OperateOptions } from './options.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The port for operators. It is there if the suite has the option `operate`. */
    operate: Operate
  }
}

/** The port that probes and scrapes ask, as the decorator `app.operate` of the suite. */
export interface Operate {
  /** Undefined until the application is ready, and after it has closed. */
  readonly port: number | undefined
}

/** A scrape takes one connection, and a probe another. Many more would be of somebody who is no operator. */
const MAX_CONNECTIONS = 100

/** How long a client may take to send its request, in ms. */
const REQUEST_TIMEOUT_MS = 10_000

async function operate (app: FastifyInstance, options: OperateOptions): Promise<void> {
  const { port, host } = resolveOptions(options)
  const endpoints = openEndpoints(app)
  const server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS },
    (request, response) => {
      answer(endpoints, request, response).catch((err: unknown) => {
        logSafely(app.log, 'warn', { err, path: request.url }, 'operate: a request could not be answered')
        send(response, json(500, { statusCode: 500, error: 'Internal Server Error', message: 'The log says why' }))
      })
    })
  server.maxConnections = MAX_CONNECTIONS

  app.decorate('operate', {
    get port () { return (server.address() as AddressInfo | null)?.port }
  })
  app.addHook('onReady', async () => {
    // Exclusive: the workers of node:cluster would otherwise share the port, and a scrape would show any one of them.
    server.listen({ port, host, exclusive: true })
    await once(server, 'listening')
    // A connection that can't be accepted, for want of descriptors, say, must not end the process.
    server.on('error', (err) => logSafely(app.log, 'debug', { err }, 'operate'))
    const { address, family, port: bound } = server.address() as AddressInfo
    const url = `http://${family === 'IPv6' ? `[${address}]` : address}:${bound}`
    logSafely(app.log, 'info', { url }, `operate: ${[...endpoints.keys()].join(', ')} at ${url}`)
  })
  // Registered before the other parts, so that Fastify calls it after theirs.
  app.addHook('onClose', async () => {
    if (!server.listening) return
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  })
}

async function answer (endpoints: Endpoints, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { method, url = '' } = request
  const endpoint = endpoints.get(url.split('?', 1)[0] as string)
  if (endpoint === undefined) {
    const message = `This port answers GET of ${[...endpoints.keys()].join(', ')}`
    return send(response, json(404, { statusCode: 404, error: 'Not Found', message }))
  }
  if (method !== 'GET' && method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD')
    return send(response, json(405, { statusCode: 405, error: 'Method Not Allowed', message: 'Use GET' }))
  }
  send(response, await endpoint())
}

function send (response: ServerResponse, { status, type, body }: ReturnType<typeof json>): void {
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body)
}

export default fp(operate, { name: 'fastify-concurrency/operate', fastify: '5.x' })
