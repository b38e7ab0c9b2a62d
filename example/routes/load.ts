import { setTimeout as sleep } from 'node:timers/promises'
import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { InjectOptions } from 'fastify'

/** ms that a client waits for its answer before it leaves. */
const PATIENCE = 2_000

const misspelt = ['tokoy', 'pariss', 'san fransico', 'rio de janero', 'buenos aries', 'melborne', 'reykjavick', 'johanesburg']

/** Load for the buttons of the page: the service is its own client, many times over, so that the dashboard has something to show. */
const load: FastifyPluginAsyncTypebox = async (app) => {
  /** The kinds of load that are being made. */
  const busy = new Set<string>()

  /** Sends a request as a client of this address would. Returns its status, or 'left' if the client has lost its patience. */
  async function ask (options: InjectOptions): Promise<string> {
    try {
      const { statusCode } = await app.inject({ ...options, signal: AbortSignal.timeout(PATIENCE) })
      return String(statusCode)
    } catch {
      return 'left'
    }
  }

  function said (answers: readonly string[]): string {
    const count = (answer: string): number => answers.filter((each) => each === answer).length
    const parts = { served: count('200'), 'over the limit (429)': count('429'), 'refused (503)': count('503'), 'left after 2 s': count('left') }
    return Object.entries(parts).filter(([, count]) => count > 0).map(([what, count]) => `${count} ${what}`).join(', ')
  }

  const kinds = {
    /** More clients than the threads can serve, each from an address of its own. */
    searches: async () => said(await Promise.all(Array.from({ length: 500 }, async (_, n) => {
      await sleep(n * 20)
      const q = misspelt[n % misspelt.length] ?? ''
      return ask({ url: `/search?q=${encodeURIComponent(q)}`, remoteAddress: `10.0.${n >> 8}.${n & 255}` })
    }))),

    /** One client that asks more often than its plan allows. */
    flood: async () => said(await Promise.all(Array.from({ length: 200 }, async (_, n) => {
      await sleep(n * 10)
      return ask({ url: '/search?q=oslo', remoteAddress: '10.1.0.1', headers: { 'x-api-key': 'free-flood' } })
    }))),

    stubborn: async () => ended(app.workers.run('stubborn', { ms: 60_000 })),
    hungry: async () => ended(app.workers.run('hungry'))
  }

  /** What became of a job that can't end well. */
  async function ended (job: Promise<unknown>): Promise<string> {
    return job.then(() => 'It has ended by itself.', (error: Error) => `${error.message}. The service goes on.`)
  }

  app.post('/load/:kind', {
    config: { limiter: false },
    schema: {
      params: Type.Object({ kind: Type.Union([Type.Literal('searches'), Type.Literal('flood'), Type.Literal('stubborn'), Type.Literal('hungry')]) }),
      response: { 200: Type.Object({ said: Type.String() }) }
    }
  }, async ({ params: { kind } }) => {
    if (busy.has(kind)) return { said: 'The button was pressed already: wait for its end.' }
    busy.add(kind)
    try {
      return { said: await kinds[kind]() }
    } finally {
      busy.delete(kind)
    }
  })
}

export default load
