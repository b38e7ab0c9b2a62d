// The corpus is right, independently of any detector: every racy program goes wrong in some order of its steps; a fixed or a clean one never does.
import { readdirSync } from 'node:fs'
import t from 'tap'
import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import { cleanPrograms, pairs } from './index.ts'
import { interleave } from './interleave.ts'
import { plainPrograms } from './plain.ts'
import type { Program } from './program.ts'
import { identityTools } from './tools.ts'

/** The number of seeds under which a right program is run, and within which a racy program goes wrong. FC_CORPUS_SEEDS raises it. */
const seeds = Number(process.env['FC_CORPUS_SEEDS'] ?? 7)

type Send = Array<() => Promise<LightMyRequestResponse>>

/** Runs an application once and returns what the invariant of its program threw, if it threw. */
async function failureOf ({ requests, invariant }: Program, app: FastifyInstance, run: (send: Send) => Promise<LightMyRequestResponse[]>): Promise<unknown> {
  await app.ready()
  try {
    await invariant(app, await run(requests.map((request) => async () => app.inject(request))))
    return undefined
  } catch (error) {
    return error
  } finally {
    await app.close()
  }
}

async function oneByOne (send: Send): Promise<LightMyRequestResponse[]> {
  const responses: LightMyRequestResponse[] = []
  for (const start of send) responses.push(await start())
  return responses
}

/** Returns the first failure among the seeds, with its seed. */
async function firstFailure (program: Program, build = (): ReturnType<Program['build']> => program.build(identityTools())): Promise<{ seed: number, error: unknown } | undefined> {
  for (let seed = 1; seed <= seeds; seed++) {
    const error = await failureOf(program, await build(), async (send) => interleave(seed, send))
    if (error !== undefined) return { seed, error }
  }
  return undefined
}

t.test('every racy program goes wrong under some seed, by a failed assertion; its fix under none', async (t) => {
  for (const { racy, fixed } of [...await pairs('bugs'), ...await pairs('unseen')]) {
    t.match(await firstFailure(racy), { error: { code: 'ERR_ASSERTION' } }, racy.name)
    t.equal(await firstFailure(fixed), undefined, fixed.name)
  }
})

t.test('a racy program is right if its requests do not overlap', async (t) => {
  for (const { racy } of [...await pairs('bugs'), ...await pairs('unseen')]) {
    t.equal(await failureOf(racy, await racy.build(identityTools()), oneByOne), undefined, racy.name)
  }
})

t.test('a clean program goes wrong under no seed', async (t) => {
  for (const { program } of await cleanPrograms()) t.equal(await firstFailure(program), undefined, program.name)
})

t.test('an application that knows no detector goes wrong if and only if it is the twin of a racy program', async (t) => {
  const plain = await plainPrograms()
  t.strictSame(plain.map(({ file }) => file).sort(), readdirSync(new URL('plain/', import.meta.url)).sort())
  for (const { file, racy, twin, build } of plain) {
    const failure = await firstFailure(twin, build)
    if (racy) t.match(failure, { error: { code: 'ERR_ASSERTION' } }, file)
    else t.equal(failure, undefined, file)
  }
})

t.test('the corpus is large enough, its names are unique and say where a program is', async (t) => {
  const [bugs, unseen, clean] = [await pairs('bugs'), await pairs('unseen'), await cleanPrograms()]
  t.ok(bugs.length >= 24 && unseen.length >= 20 && clean.length >= 50, `${bugs.length} bugs, ${unseen.length} unseen bugs, ${clean.length} clean programs`)
  const names = [...bugs, ...unseen].flatMap(({ racy, fixed }) => [racy.name, fixed.name]).concat(clean.map(({ program }) => program.name))
  t.equal(new Set(names).size, names.length)
  t.strictSame(names.filter((name) => !/^(?:(?:bugs|unseen)\/[a-z-]+\/(?:racy|fixed)|clean\/[a-z-]+)$/.test(name)), [])
  for (const { description } of [...bugs, ...unseen, ...clean]) t.match(description, /^\S[^]+\.$/)
})
