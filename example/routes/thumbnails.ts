import createError from '@fastify/error'
import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { owned } from '../images/bytes.ts'
import { formatOf } from '../images/format.ts'
import { sendProgress, wantsProgress } from './progress.ts'

const NotAnImageError = createError('NOT_AN_IMAGE', 'Send a JPEG or a PNG as the body, with its content type', 415)

/** A photo of 12 megapixels has 3 to 6 MB. */
const BODY_LIMIT = 10 * 1024 * 1024

const schema = {
  querystring: Type.Object({
    width: Type.Integer({ minimum: 1, maximum: 2_048, default: 320, description: 'Of the thumbnail, in pixels' })
  })
}

const thumbnails: FastifyPluginAsyncTypebox = async (app) => {
  // In this plugin's scope alone: elsewhere JSON is parsed, here a body is an image or is refused with 415.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(/^image\//, { parseAs: 'buffer', bodyLimit: BODY_LIMIT }, (_request, body, done) => done(null, body))

  app.post('/thumbnails', { schema, config: { limiter: { cost: 5 } } }, async (request, reply) => {
    if (!(request.body instanceof Buffer) || formatOf(request.body) === undefined) throw new NotAnImageError()
    // Transferred, so the thread gets the upload itself and the main thread spends no time on copying it.
    const image = owned(request.body)
    const run = (onProgress?: (value: unknown) => void) => app.workers.run('thumbnail',
      { image, width: request.query.width },
      { transferList: [image], ...(onProgress && { onProgress }) })

    reply.header('vary', 'accept')
    if (wantsProgress(request)) {
      return sendProgress(reply, run, ({ image, width, height }) =>
        ({ width, height, src: `data:image/jpeg;base64,${Buffer.from(image).toString('base64')}` }))
    }
    const thumbnail = await run()
    return reply.type('image/jpeg').send(Buffer.from(thumbnail.image))
  })
}

export default thumbnails
