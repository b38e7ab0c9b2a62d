import assert from 'node:assert/strict'
import { setImmediate as nextTurn } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'An immutable state is replaced if it is still the object that was read, as compareAndSet() of a Java AtomicReference does.'

type State = Readonly<Record<string, number>>

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const store = shared({ state: {} as State }, 'store')

  function replace (expected: State, next: State): boolean {
    if (store.state !== expected) return false
    store.state = next
    return true
  }

  async function update (reducer: (state: State) => Promise<State>): Promise<void> {
    let before: State
    let after: State
    do {
      before = store.state
      after = await reducer(before)
    } while (!replace(before, after))
  }

  app.post<{ Params: { key: string } }>('/votes/:key', async ({ params: { key } }) => {
    await update(async (state) => {
      await nextTurn()
      return { ...state, [key]: (state[key] ?? 0) + 1 }
    })
    return 'counted'
  })
  app.get('/votes', async () => store.state)
  return app
}

export const program: Program = {
  name: 'clean/compare-and-swap',
  source: 'pattern: compare and swap by reference',
  build,
  requests: ['yes', 'no', 'yes'].map((key) => ({ method: 'POST', url: `/votes/${key}` })),
  async invariant (app) {
    assert.deepEqual((await app.inject('/votes')).json(), { yes: 2, no: 1 })
  }
}
