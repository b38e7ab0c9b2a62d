import { transfer, type JobContext } from 'fastify-concurrency/jobs'
import { owned } from '../images/bytes.ts'
import { decode, sizeOf } from '../images/decode.ts'
import { encodeJpeg } from '../images/jpeg.ts'
import { isTurned, upright } from '../images/orient.ts'
import { shrink } from '../images/resize.ts'

/** A strip one pixel wide would stay as long as it is, and a JPEG has at most 65,535 rows. */
const MAX_HEIGHT = 4_096

export interface ThumbnailPayload {
  /** A JPEG or PNG, transferred: the caller gives it away. */
  image: ArrayBuffer
  /** Of the thumbnail, in pixels; an image that is smaller keeps its size. */
  width: number
}

export interface Thumbnail {
  /** A JPEG. */
  image: ArrayBuffer
  width: number
  height: number
}

/** Makes a smaller JPEG. Throws an ImageError (413, 422) for an image that can't be served. */
export default function thumbnail ({ image, width }: ThumbnailPayload, context: JobContext): Thumbnail {
  const bytes = Buffer.from(image)
  const size = sizeOf(bytes)
  // The decoders can't be interrupted: a client that leaves meanwhile costs the thread, after the pool's grace.
  context.progress({ stage: 'decoding', done: 0 })
  const pixels = decode(bytes, size)

  const turned = isTurned(size.orientation)
  const [across, down] = turned ? [size.height, size.width] : [size.width, size.height]
  const scale = Math.min(1, width / across, MAX_HEIGHT / down)
  const box = {
    width: Math.max(1, Math.round(size.width * scale)),
    height: Math.max(1, Math.round(size.height * scale))
  }
  let tenths = 0
  const small = shrink(pixels, size, box, (done) => {
    context.throwIfAborted()
    if (done * 10 >= tenths + 1) context.progress({ stage: 'resizing', done: ++tenths / 10 })
  })

  context.progress({ stage: 'encoding', done: 1 })
  const standing = turned ? { width: box.height, height: box.width } : box
  const jpeg = owned(encodeJpeg(upright(small, box, size.orientation), standing.width, standing.height, 85))
  return transfer({ image: jpeg, ...standing }, [jpeg])
}
