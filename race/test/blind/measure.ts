// Runs the applications of first/, second/ and third/, which were written from public issues before the detector was run on them, and prints what is
// found. Usage: RACE=1 node --conditions=fastify-concurrency-source --import ./loader/typescript.js --import fastify-concurrency-race/register
// race/test/blind/measure.ts [first second third]
import { readdirSync } from 'node:fs'
import type { FastifyInstance, InjectOptions } from 'fastify'
import { explore } from 'fastify-concurrency-race'
import { detector } from '../../src/detector.ts'

interface Application {
  requests: Array<string | InjectOptions>
  build?: () => FastifyInstance
  racy?: () => FastifyInstance
  fixed?: () => FastifyInstance
}

detector.reports.silence()
const reports = new Set<string>()
detector.reports.onReport(({ isConfirmed, kind, location }) => { if (isConfirmed) reports.add(`${kind} on ${location}`) })

/** The confirmed reports of concurrent injects, sent ten times. */
async function byInjects (build: () => FastifyInstance, requests: Application['requests']): Promise<string[]> {
  reports.clear()
  for (let time = 0; time < 10; time++) {
    const app = build()
    await app.ready()
    await Promise.all(requests.map(async (request) => app.inject(request)))
    await app.close()
  }
  return [...reports]
}

/** What explore() rejects with. */
async function byExplore (build: () => FastifyInstance, requests: Application['requests'], invariant: 'serial' | undefined): Promise<string | undefined> {
  const { write } = process.stderr
  process.stderr.write = () => true
  try {
    await explore(build, { requests, ...invariant !== undefined && { invariant } })
    return undefined
  } catch (error) {
    return (error as Error).message.split('\n')[0]
  } finally {
    process.stderr.write = write
  }
}

const columns = ['injects', 'explore', 'serial'] as const
type Row = Record<typeof columns[number], number> & { all: number, ms: number }

for (const collection of process.argv.length > 2 ? process.argv.slice(2) : ['first', 'second', 'third']) {
  const table: Record<string, Row> = {}
  for (const folder of ['bugs', 'clean']) {
    for (const file of readdirSync(new URL(`${collection}/${folder}/`, import.meta.url))) {
      const { requests, ...builds } = await import(new URL(`${collection}/${folder}/${file}`, import.meta.url).href) as Application
      for (const [name, build] of Object.entries(builds)) {
        const row = table[name] ??= { injects: 0, explore: 0, serial: 0, all: 0, ms: 0 }
        const injects = await byInjects(build as () => FastifyInstance, requests)
        const began = performance.now()
        const explored = await byExplore(build as () => FastifyInstance, requests, undefined)
        const serial = await byExplore(build as () => FastifyInstance, requests, 'serial')
        row.ms += performance.now() - began
        row.all++
        if (injects.length > 0) row.injects++
        if (explored !== undefined) row.explore++
        if (serial !== undefined) row.serial++
        const found = [injects.join('; ') || '–', explored ?? '–', serial?.slice(0, 160) ?? '–']
        console.log(`${collection}/${folder}/${file} ${name}: ${columns.map((column, n) => `${column}: ${found[n]}`).join(' | ')}`)
      }
    }
  }
  for (const [name, { all, ms, ...found }] of Object.entries(table)) {
    console.log(`${collection} ${name}: ${columns.map((column) => `${column} ${found[column]}`).join(', ')} of ${all}; ` +
      `${(ms / all / 1000).toFixed(1)} s for two explorations`)
  }
}
