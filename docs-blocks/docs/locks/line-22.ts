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
app.post<{ Params: { id: string } }>('/visits/:id', async (request) => {
  const { id } = request.params
  return app.locks.mutex(`session:${id}`).runExclusive(async () => {
    const session = await sessions.load(id)
    session.visits++
    await sessions.save(id, session)                     // nobody else has loaded the session meanwhile
    return session.visits
  })
})
export {}
