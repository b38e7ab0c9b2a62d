import { setTimeout as sleep } from 'node:timers/promises'

/** What many handlers do at the same time: each waits `ms` for something outside, and then needs a job, as long as the shutdown lets it. */
export async function wait (request, ms) {
  request.log.info('work begins')
  request.disconnected.addEventListener('abort', () => request.log.info('work stopped'))
  await sleep(Number(ms), undefined, { signal: request.disconnected }).catch(() => {})
  return request.server.workers.run('work', 1)
}
