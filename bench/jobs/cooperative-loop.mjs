/**
 * Computes until its signal aborts.
 *
 * @param {undefined} _payload
 * @param {import('fastify-concurrency/jobs').JobContext} context
 */
export default function cooperativeLoop (_payload, context) {
  context.progress('started')
  while (!context.aborted);
}
