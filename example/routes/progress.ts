import { PassThrough } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'

const NDJSON = 'application/x-ndjson'

/** Whether the client asked for progress. */
export const wantsProgress = (request: FastifyRequest): boolean => request.headers.accept?.includes(NDJSON) === true

/**
 * Answers with a JSON document a line: `{ progress }` for each report, `{ result }` or `{ error }` at the end.
 *
 * In the response itself, not on a second connection by an id: there is no table of ids to bound, whoever leaves cancels
 * the job as on any other route, and a shutdown has no endless stream to wait for.
 * Nothing is sent before the first report, so that what is refused until then is answered with its own status.
 */
export async function sendProgress<Result> (
  reply: FastifyReply,
  work: (onProgress: (value: unknown) => void) => Promise<Result>,
  toJson: (result: Result) => unknown = (result) => result
): Promise<FastifyReply> {
  const lines = new PassThrough()
  const write = (line: object): void => { lines.write(`${JSON.stringify(line)}\n`) }
  let begun = false
  const begin = (): void => {
    if (!begun) reply.type(NDJSON).send(lines)
    begun = true
  }
  try {
    const result = await work((progress) => {
      begin()
      write({ progress })
    })
    begin()
    write({ result: toJson(result) })
  } catch (error) {
    if (!begun) throw error
    // The status has long gone out, so Fastify logs no failure; there is none if the client has left.
    if (!reply.request.disconnected.aborted) reply.log.info({ err: error }, 'failed after progress was sent')
    const { statusCode = 500, message } = error as Error & { statusCode?: number }
    write({ error: { statusCode, message: statusCode < 500 ? message : 'Internal Server Error' } })
  }
  lines.end()
  return reply
}
