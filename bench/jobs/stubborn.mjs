/**
 * Computes for ever and ignores its signal.
 *
 * @param {undefined} _payload
 * @param {import('fastify-concurrency/jobs').JobContext} context
 */
export default function stubborn (_payload, context) {
  context.progress('started')
  for (;;);
}
