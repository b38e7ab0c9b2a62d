/**
 * Waits until its signal aborts.
 *
 * @param {undefined} _payload
 * @param {import('fastify-concurrency/jobs').JobContext} context
 */
export default async function cooperativeAsync (_payload, context) {
  context.progress('started')
  await new Promise((_resolve, reject) => {
    context.signal.addEventListener('abort', () => reject(context.signal.reason))
  })
}
