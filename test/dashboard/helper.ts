// An app with the dashboard that listens, and clients of its stream over real sockets.
import { request as httpRequest, type IncomingHttpHeaders, type RequestOptions } from 'node:http'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import concurrency, { type ConcurrencyOptions } from '../../plugins/index.ts'
import { assertIdle } from '../../plugins/testing.ts'
import { jobs } from '../fixtures/jobs.ts'
import { execArgv, until, type TestJobs } from '../helper.ts'

export async function startDashboard (t: Test, options: ConcurrencyOptions<TestJobs> = {}, routes: (app: FastifyInstance) => void = () => {}, server: FastifyServerOptions = {}): Promise<{ app: FastifyInstance, port: number }> {
  const app = Fastify(server) as unknown as FastifyInstance
  t.teardown(async () => {
    await app.close()
    await assertIdle(app)
  })
  await app.register(concurrency, { workers: { jobs, maxThreads: 1, grace: 100, execArgv }, dashboard: {}, ...options })
  routes(app)
  await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, port: (app.server.address() as AddressInfo).port }
}

export interface Answer { status: number, headers: IncomingHttpHeaders, body: string }

/** A request whose headers are exactly these, Host included. */
export async function send (port: number, path: string, options: RequestOptions = {}): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    httpRequest({ port, path, host: '127.0.0.1', agent: false, ...options }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (chunk: string) => { body += chunk }).on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body })).on('error', reject)
    }).on('error', reject).end()
  })
}

export interface Message { event: string, data: never }

export interface Listener {
  readonly messages: Message[]
  readonly ended: boolean
  /** The data of the first message of this name that satisfies the condition. */
  next<Data> (event: string, holds?: (data: Data) => boolean): Promise<Data>
  close (): void
}

/** The process that a page shows, as its requests name it. */
export async function processOf (t: Test, port: number): Promise<string> {
  const page = await listenTo(t, port)
  const { process } = await page.next<{ process: string }>('hello')
  page.close()
  return process
}

/** A page that is connected to the stream. */
export async function listenTo (t: Test, port: number, path = '/dashboard/events'): Promise<Listener> {
  const messages: Message[] = []
  let ended = false
  let text = ''
  const request = httpRequest({ port, path, host: '127.0.0.1', agent: false })
  t.teardown(() => request.destroy())
  const connected = new Promise<void>((resolve, reject) => {
    request.on('error', reject).on('response', (response) => {
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
        const blocks = text.split('\n\n')
        text = blocks.pop() ?? ''
        for (const block of blocks) {
          // Only \n ends a line of an event stream; in a regular expression U+2028 does too.
          const [, event = ''] = /(?:^|\n)event: ([^\n]*)/.exec(block) ?? []
          const [, data = 'null'] = /\ndata: ([^\n]*)/.exec(block) ?? []
          messages.push({ event, data: JSON.parse(data) as never })
        }
        resolve()
      }).on('end', () => { ended = true }).on('error', () => { ended = true }).on('close', () => { ended = true })
    })
  })
  request.end()
  await connected
  return {
    messages,
    get ended () { return ended },
    async next<Data> (event: string, holds: (data: Data) => boolean = () => true) {
      const find = (): Message | undefined => messages.find((message) => message.event === event && holds(message.data))
      await until(() => find() !== undefined, `an event ${event}`)
      return find()?.data as unknown as Data
    },
    close: () => { request.destroy() }
  }
}
