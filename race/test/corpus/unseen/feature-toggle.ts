// A switch for a feature. The audit log gets an entry with the old and the new state before the switch moves.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'A toggle reads a flag, awaits the audit log, and writes the opposite of what it read. Two toggles change the flag once.'

interface Flags { darkMode: boolean, beta: boolean }

const audit = async (_entry: string): Promise<void> => { await sleep(1) }

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const flags: Flags = shared({ darkMode: false, beta: false }, 'flags')
  app.post<{ Params: { flag: keyof Flags } }>('/flags/:flag/toggle', async ({ params: { flag } }) => {
    const enabled = flags[flag]
    await audit(`${flag}: ${enabled} → ${!enabled}`)
    flags[flag] = !enabled
    return { toggled: flag }
  })
  app.get('/flags', async () => flags)
  return app
}

function fixedApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const flags: Flags = shared({ darkMode: false, beta: false }, 'flags')
  app.post<{ Params: { flag: keyof Flags } }>('/flags/:flag/toggle', async ({ params: { flag } }) => {
    const enabled = flags[flag]
    flags[flag] = !enabled
    await audit(`${flag}: ${enabled} → ${!enabled}`)
    return { toggled: flag }
  })
  app.get('/flags', async () => flags)
  return app
}

export const { racy, fixed } = pair({
  name: 'unseen/feature-toggle',
  source: 'pattern: read-modify-write of a flag',
  requests: ['beta', 'beta', 'darkMode'].map((flag) => ({ method: 'POST', url: `/flags/${flag}/toggle` })),
  async invariant (app) {
    assert.deepEqual((await app.inject('/flags')).json(), { darkMode: true, beta: false })
  }
}, racyApp, fixedApp)
