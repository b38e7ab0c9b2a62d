// nodeSolidServer/node-solid-server#1106: reading, patching and writing are covered by a lock of the file.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

export function build () {
  const app = Fastify()
  const files = { card: ['a'], notes: [] }
  const locks = {}

  async function withLock (path, work) {
    const before = locks[path]
    let release
    const mine = locks[path] = new Promise((resolve) => { release = resolve })
    try {
      await before
      return await work()
    } finally {
      release()
      if (locks[path] === mine) delete locks[path]
    }
  }

  app.patch('/:file/:line', async ({ params: { file, line } }) => withLock(file, async () => {
    const graph = [...files[file]]
    await sleep(1)
    graph.push(line)
    await sleep(1)
    files[file] = graph
    return { patched: true }
  }))
  return app
}

export const requests = ['/card/b', '/card/c', '/notes/d'].map((url) => ({ method: 'PATCH', url }))
