// What the tests of the loop need. It defines no test.
import { connect, type AddressInfo, type Socket } from 'node:net'
import { once } from 'node:events'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import loop, { type LoopOptions } from '../../plugins/loop/index.ts'
import { assertIdle } from '../../plugins/testing.ts'
import { until } from '../helper.ts'

/** Holds the event loop for `ms`. */
export function spin (ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end;);
}

export async function startLoop (
  t: Test, options: LoopOptions, routes: (app: FastifyInstance) => Promise<void> | void, server: FastifyServerOptions = {}
): Promise<{ app: FastifyInstance, port: number }> {
  const app = Fastify(server) as unknown as FastifyInstance
  t.teardown(async () => {
    await app.close()
    await assertIdle(app)
  })
  await app.register(loop, options)
  await routes(app)
  await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, port: (app.server.address() as AddressInfo).port }
}

export interface Answer {
  status: number
  headers: string
  body: string
}

/** Opens connections, and waits until the server has accepted them, so that what is written to them arrives in one turn. */
export async function connections (app: FastifyInstance, port: number, count: number): Promise<Socket[]> {
  let accepted = 0
  app.server.on('connection', () => { accepted++ })
  const sockets = Array.from({ length: count }, () => connect(port, '127.0.0.1'))
  await Promise.all(sockets.map(async (socket) => once(socket, 'connect')))
  await until(() => accepted === count, 'the server has accepted them')
  return sockets
}

export function request (path: string, headers = ''): string {
  return `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${headers}\r\n`
}

/** Reads the answer on a connection that closes after it. */
export async function answer (socket: Socket): Promise<Answer> {
  let text = ''
  socket.setEncoding('utf8').on('data', (chunk: string) => { text += chunk })
  await once(socket, 'close')
  const [head = '', body = ''] = text.split('\r\n\r\n', 2)
  return { status: Number(head.split(' ', 2)[1]), headers: head.toLowerCase(), body }
}

/** Sends requests that arrive in one turn, each on a connection of its own. */
export async function together (app: FastifyInstance, port: number, paths: readonly string[]): Promise<Answer[]> {
  const sockets = await connections(app, port, paths.length)
  const answers = sockets.map(answer)
  for (const [index, socket] of sockets.entries()) socket.write(request(paths[index]!))
  return Promise.all(answers)
}

export const times = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value)
