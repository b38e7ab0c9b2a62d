// thumbnail.ts, which only the threads load
import { transfer, type JobContext } from 'fastify-concurrency/jobs'
import { shrink } from './image.ts'                       // your image library

export default function thumbnail ({ image, width }: { image: ArrayBuffer, width: number }, context: JobContext) {
  context.log.info({ bytes: image.byteLength }, 'thumbnail')
  const jpeg = shrink(image, width)
  return transfer(jpeg, [jpeg.buffer])                    // moved, not copied
}
