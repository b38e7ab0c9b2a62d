// touch() extends the life of a session: it saves the session that was loaded when the request began.
import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'
import { Table } from '../table.ts'

export const description = 'touch() saves the session that it loaded before an await, only to extend its life. A login in between is undone.'

interface Session { user: string | null, expires: number }

const pages = new Table({ home: 'welcome' })

function addLogin (app: FastifyInstance, sessions: Map<string, Session>): void {
  app.post<{ Params: { sid: string } }>('/login/:sid', async ({ params: { sid } }) => {
    await pages.find('login')
    const session = sessions.get(sid)
    sessions.set(sid, { expires: session?.expires ?? 1, user: 'ann' })
    return 'ok'
  })
  app.get<{ Params: { sid: string } }>('/whoami/:sid', async ({ params }) => ({ user: sessions.get(params.sid)?.user }))
}

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const sessions = shared(new Map<string, Session>([['s1', { user: null, expires: 1 }]]), 'sessions')
  const touch = (sid: string, session: Session): void => { sessions.set(sid, { ...session, expires: session.expires + 1 }) }
  app.get<{ Params: { sid: string } }>('/home/:sid', async ({ params: { sid } }) => {
    const session = sessions.get(sid)
    const page = await pages.find('home')
    if (session) touch(sid, session)
    return { page, user: session?.user }
  })
  addLogin(app, sessions)
  return app
}

function fixedApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const sessions = shared(new Map<string, Session>([['s1', { user: null, expires: 1 }]]), 'sessions')
  const touch = (sid: string): void => {
    const session = sessions.get(sid)
    if (session) session.expires += 1
  }
  app.get<{ Params: { sid: string } }>('/home/:sid', async ({ params: { sid } }) => {
    const page = await pages.find('home')
    touch(sid)
    return { page, user: sessions.get(sid)?.user }
  })
  addLogin(app, sessions)
  return app
}

export const { racy, fixed } = pair({
  name: 'bugs/session-touch',
  source: 'tj/connect-redis#75',
  requests: [{ url: '/home/s1' }, { method: 'POST', url: '/login/s1' }, { url: '/home/s1' }],
  async invariant (app) {
    assert.deepEqual((await app.inject('/whoami/s1')).json(), { user: 'ann' }, 'who has logged in stays logged in')
  }
}, racyApp, fixedApp)
