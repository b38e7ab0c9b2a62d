import type { FastifyInstance } from 'fastify'
import 'fastify-concurrency'
declare const app: FastifyInstance
interface Session { visits: number }
declare const sessions: { load: (id: string) => Promise<Session>, save: (id: string, session: Session) => Promise<void> }
interface Item { id: string }
declare let items: Item[]
declare function loadItems (): Promise<Item[]>
declare function callPartner (body: unknown): Promise<string>
declare function connect (): Promise<{ query: (text: string) => Promise<string[]> }>
app.post('/reload', async () => {
  await using lock = await app.locks.mutex('items').acquire({ timeout: 500 })
  items = await loadItems()
  return lock.key
})
export {}
