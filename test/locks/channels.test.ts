// Messages about locks.
import t from 'tap'
import * as channels from '../../plugins/locks/channels.ts'
import { until } from '../helper.ts'
import { startLocks } from './helper.ts'

t.test('each channel has its message', async (t) => {
  const seen: Record<string, unknown[]> = {}
  for (const [name, channel] of Object.entries(channels)) {
    const messages: unknown[] = seen[name] = []
    const listener = (message: unknown): void => { messages.push(message) }
    channel.subscribe(listener)
    t.teardown(() => channel.unsubscribe(listener))
  }
  const app = await startLocks(t, { maxHold: 10 })
  const lock = await app.locks.semaphore('a', 1).acquire()
  await t.rejects(app.locks.semaphore('a', 1).acquire({ timeout: 0 }))
  await until(() => seen['lockHoldExceeded']?.length === 1, 'it is held too long')
  lock.release()
  const message = { server: app.server, kind: 'lock', name: 'semaphore', id: 'a' }
  t.match(seen['lockAcquired'], [{ ...message, hold: Object, waitMs: Number }])
  t.match(seen['lockReleased'], [{ ...message, heldMs: Number }])
  t.equal((seen['lockReleased']?.[0] as { hold: object }).hold, (seen['lockAcquired']?.[0] as { hold: object }).hold)
  t.match(seen['lockHoldExceeded'], [{ ...message, heldMs: Number, stack: /channels\.test/ }])
  await t.rejects(app.locks.semaphore('a', 1).acquire({ signal: AbortSignal.abort() }), { code: 'FC_ERR_LOCK_ABORTED' })
  await app.close()
  await t.rejects(app.locks.semaphore('a', 1).acquire(), { code: 'FC_ERR_CLOSING' })
  t.match(seen['lockRefused'], [{ ...message, reason: 'timeout', error: { code: 'FC_ERR_LOCK_TIMEOUT' } }, { ...message, reason: 'closing', error: { code: 'FC_ERR_CLOSING' } }])
  t.equal(seen['lockRefused']?.length, 2, 'a caller that has left was not refused')
})
