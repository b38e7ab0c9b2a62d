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
app.get('/items', async () => app.locks.rwlock('items').runShared(() => items))
app.post('/items/reload', async () => app.locks.rwlock('items').runExclusive(async () => { items = await loadItems() }))
app.post('/partner', async (request) => app.locks.semaphore('partner', 4).run(() => callPartner(request.body)))
app.get('/report', async () => (await app.locks.once('database', connect)).query('select …'))
export {}
