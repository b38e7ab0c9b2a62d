// What a mistake is answered with: one message that names what was expected, without the noise of overloads and conditional types.
// That mistakes don't compile at all is what test/types/ says.
import t from 'tap'
import { errors, program } from './compiler.ts'

const head = `
import { defineJobs } from 'fastify-concurrency/jobs'
import type { Workers } from 'fastify-concurrency/workers'
import type { jobs } from './jobs.ts'
declare const workers: Workers<typeof jobs>
const image = new Uint8Array(1)
`
const mistakes = {
  name: "void workers.run('thumbnails', { image, width: 100 })",
  payload: "void workers.run('length', 1)",
  field: "void workers.run('thumbnail', { image, width: '100' })",
  missing: "void workers.run('thumbnail', { image })",
  nothing: "void workers.run('thumbnail')",
  option: "void workers.run('length', 'text', { timout: 1_000 })",
  result: "const text: string = await workers.run('length', 'text')\nvoid text",
  definition: 'defineJobs(import.meta.url, { length: { load: async () => (text: string) => text.length, timout: 1_000 } })'
}
const path = (name: string): string => `test/types/${name}.mistake.ts`
const compiled = program('test/types/tsconfig.json', Object.fromEntries(
  Object.entries(mistakes).map(([name, mistake]) => [path(name), `${head}${mistake}\nvoid [defineJobs, workers, image]\n`])))

/** A union's members come in the order in which the compiler met them. */
function inOrder (message: string): string {
  return message.replace(/"\w+"( \| "\w+")+/, (union) => union.split(' | ').sort().join(' | '))
}

function says (mistake: keyof typeof mistakes, message: string): void {
  t.test(mistakes[mistake], async (t) => {
    t.strictSame(errors(compiled, path(mistake)).map(inOrder), [message])
  })
}

says('name', 'TS2345: Argument of type \'"thumbnails"\' is not assignable to parameter of type \'"greet" | "legacy" | "length" | "thumbnail" | "tick"\'.')
says('payload', "TS2345: Argument of type 'number' is not assignable to parameter of type 'string'.")
says('field', "TS2322: Type 'string' is not assignable to type 'number'.")
says('missing', "TS2345: Argument of type '{ image: Uint8Array<ArrayBuffer>; }' is not assignable to parameter of type '{ image: Uint8Array<ArrayBufferLike>; width: number; }'.\n" +
  "  Property 'width' is missing in type '{ image: Uint8Array<ArrayBuffer>; }' but required in type '{ image: Uint8Array<ArrayBufferLike>; width: number; }'.")
says('nothing', 'TS2554: Expected 2-3 arguments, but got 1.')
says('option', "TS2561: Object literal may only specify known properties, but 'timout' does not exist in type 'RunOptions'. Did you mean to write 'timeout'?")
says('result', "TS2322: Type 'number' is not assignable to type 'string'.")
says('definition', "TS2353: Object literal may only specify known properties, and 'timout' does not exist in type 'JobDefinition<(text: string) => number> | (((text: string) => number) & JobFunction<never, unknown>)'.")
