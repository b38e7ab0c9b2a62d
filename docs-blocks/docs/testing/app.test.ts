// app.test.ts
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertIdle } from 'fastify-concurrency/testing'
import { build, mails } from './build.ts'
import { primes } from './jobs.ts'

test('primes are computed on a thread', async (t) => {
  const app = build()
  t.after(async () => { await app.close(); await assertIdle(app) })   // tap: t.teardown()

  const response = await app.inject('/primes?limit=10')
  assert.deepEqual(response.json(), [2, 3, 5, 7])
})

test('a welcome mail is sent', async (t) => {
  const app = build()
  t.after(async () => { await app.close(); await assertIdle(app) })

  await app.inject({ method: 'POST', url: '/users' })
  await app.tasks.idle()                                              // instead of a sleep
  assert.deepEqual(mails, ['welcome'])
})

test('the job itself is a function', () => {
  assert.deepEqual(primes(10, { throwIfAborted () {} }), [2, 3, 5, 7])
})
