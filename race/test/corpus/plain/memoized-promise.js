// The program of clean/memoized-promise.ts, as an application that knows no detector.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const rates = new Map()
let loads = 0

async function load (currency) {
  loads++
  const number = loads
  await sleep(1)
  return { currency, load: number }
}

function rate (currency) {
  if (!rates.has(currency)) rates.set(currency, load(currency))
  return rates.get(currency)
}

export function build () {
  const app = Fastify()
  app.get('/rates/:currency', async ({ params }) => rate(params.currency))
  app.get('/loads', async () => loads)
  return app
}
