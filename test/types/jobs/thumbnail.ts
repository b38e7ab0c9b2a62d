import { transfer, type JobContext } from 'fastify-concurrency/jobs'

export interface Picture { width: number, pixels: Uint8Array<ArrayBuffer> }

export default async function thumbnail (payload: { image: Uint8Array, width: number }, context: JobContext): Promise<Picture> {
  context.throwIfAborted()
  const pixels = new Uint8Array(payload.width)
  return transfer({ width: payload.width, pixels }, [pixels.buffer])
}
