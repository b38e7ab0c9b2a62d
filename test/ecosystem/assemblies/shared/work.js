/** What a handler does here: logs what the checks wait for, and runs a job that takes `ms`. */
export function work (request, ms) {
  request.log.info('work begins')
  request.disconnected.addEventListener('abort', () => request.log.info('work stopped'))
  return request.server.workers.run('work', Number(ms))
}
