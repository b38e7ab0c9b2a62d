// Yeachan-Heo/oh-my-codex#294: state_write reads the state of a mode, merges the fields it was given, and writes the result.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const build = (isFixed) => () => {
  const app = Fastify()
  const files = { autopilot: '{"phase":"plan","iteration":1}' }
  const fs = {
    async readFile (path) { await sleep(1); return files[path] },
    async writeFile (path, text) { await sleep(1); files[path] = text }
  }
  const locks = new Map()

  async function stateWrite (mode, fields) {
    const existing = JSON.parse(await fs.readFile(mode))
    const merged = { ...existing, ...fields }
    await fs.writeFile(mode, JSON.stringify(merged, null, 2))
  }
  function withLock (mode, work) {
    const previous = locks.get(mode) ?? Promise.resolve()
    const mine = previous.then(work)
    locks.set(mode, mine.catch(() => {}))
    return mine
  }

  app.post('/state/:mode', async ({ params: { mode }, body }) => {
    await (isFixed ? withLock(mode, () => stateWrite(mode, body)) : stateWrite(mode, body))
    return { success: true }
  })
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = [{ phase: 'build' }, { iteration: 2 }].map((body) => ({ method: 'POST', url: '/state/autopilot', body }))
