// The corpus is right, independently of any detector: every racy program goes wrong in some order of its steps; a fixed or a clean one never does.
import t from 'tap'
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import { cleanPrograms, pairs } from './index.ts'
import { interleave } from './interleave.ts'
import type { Program } from './program.ts'
import { identityTools } from './tools.ts'

const SEEDS = Array.from({ length: 12 }, (_, seed) => seed + 1)

/** Runs a program once and returns what its invariant threw, if it threw. */
async function failureOf (program: Omit<Program, 'build' | 'name' | 'source'>, app: FastifyInstance, seed: number): Promise<unknown> {
  await app.ready()
  try {
    const send = (request: InjectOptions) => async (): Promise<LightMyRequestResponse> => app.inject(request)
    const responses = await interleave(seed, program.requests.map(send))
    await program.invariant(app, responses)
    return undefined
  } catch (error) {
    return error
  } finally {
    await app.close()
  }
}

/** Returns the first failure among the seeds, with its seed. */
async function firstFailure (program: Program): Promise<{ seed: number, error: unknown } | undefined> {
  for (const seed of SEEDS) {
    const error = await failureOf(program, await program.build(identityTools()), seed)
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

t.test('a clean program goes wrong under no seed', async (t) => {
  for (const { program } of await cleanPrograms()) t.equal(await firstFailure(program), undefined, program.name)
})

t.test('the corpus is large enough, its names are unique and say where a program is', async (t) => {
  const [bugs, unseen, clean] = [await pairs('bugs'), await pairs('unseen'), await cleanPrograms()]
  const names = [...bugs, ...unseen].flatMap(({ racy, fixed }) => [racy.name, fixed.name]).concat(clean.map(({ program }) => program.name))
  t.equal(new Set(names).size, names.length)
  t.strictSame(names.filter((name) => !/^(?:(?:bugs|unseen)\/[a-z-]+\/(?:racy|fixed)|clean\/[a-z-]+)$/.test(name)), [])
  for (const { description } of [...bugs, ...unseen, ...clean]) t.match(description, /^\S[^]+\.$/)
})
