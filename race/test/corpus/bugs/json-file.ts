// A small database in one JSON file with a copy in memory, as lowdb has: read(), change, write().
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'A handler reads the members of a JSON database, adds one and writes the file. The member whom another request added is gone.'

interface Data { members: string[] }

class JsonFile {
  readonly path: string
  readonly mirror: { data: Data }

  constructor (path: string, mirror: { data: Data }) {
    this.path = path
    this.mirror = mirror
  }

  read (): Data {
    return { members: [...this.mirror.data.members] }
  }

  async write (data: Data): Promise<void> {
    await writeFile(this.path, JSON.stringify(data))
    this.mirror.data = data
  }
}

type Add = (file: JsonFile, member: string, tools: Tools) => Promise<void>

async function addMember (file: JsonFile, member: string): Promise<void> {
  const data = file.read()
  data.members.push(member)
  await file.write(data)
}

const addMemberInTurn: Add = async (file, member, { locks }) => locks.mutex('members', () => addMember(file, member))

const build = (add: Add) => async (tools: Tools): Promise<FastifyInstance> => {
  const app = Fastify()
  const folder = await mkdtemp(join(tmpdir(), 'corpus-'))
  app.addHook('onClose', async () => rm(folder, { recursive: true }))
  const file = new JsonFile(join(folder, 'members.json'), tools.shared({ data: { members: ['ann'] } }, 'mirror'))
  app.post<{ Body: { name: string } }>('/members', async (request, reply) => {
    await add(file, request.body.name, tools)
    return reply.code(201).send()
  })
  app.get('/members', async () => file.read().members)
  return app
}

export const { racy, fixed } = pair({
  name: 'bugs/json-file',
  source: 'NexaSphere#86',
  requests: ['ben', 'cat'].map((name) => ({ method: 'POST', url: '/members', payload: { name } })),
  async invariant (app) {
    assert.deepEqual((await app.inject('/members')).json<string[]>().sort(), ['ann', 'ben', 'cat'])
  }
}, build(addMember), build(addMemberInTurn))
