/** An image that can't be served. Thrown in the thread; `statusCode` crosses to the main thread, where Fastify reads it. */
export class ImageError extends Error {
  readonly code: 'IMAGE_CORRUPT' | 'IMAGE_TOO_LARGE'
  readonly statusCode: 413 | 422

  constructor (code: ImageError['code'], message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'ImageError'
    this.code = code
    this.statusCode = code === 'IMAGE_TOO_LARGE' ? 413 : 422
  }
}

export const corrupt = (message: string, cause?: unknown): ImageError =>
  new ImageError('IMAGE_CORRUPT', message, cause === undefined ? undefined : { cause })
