/** What a handler does here: logs what the checks wait for, and runs a job that takes `ms`, and then another, as long as the shutdown lets it. */
export async function work (request, ms) {
  const { workers } = request.server
  request.log.info('work begins')
  request.disconnected.addEventListener('abort', () => request.log.info('work stopped'))
  await workers.run('work', Number(ms))
  return workers.run('work', 1)
}
