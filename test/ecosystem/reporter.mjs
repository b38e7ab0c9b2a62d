// A reporter of node:test: writes each test as a line of JSON to FC_ECOSYSTEM_RESULTS. A test's name is its path.
import { appendFileSync } from 'node:fs'

export default async function * (events) {
  const path = []
  for await (const { type, data } of events) {
    if (type === 'test:start') {
      path.length = data.nesting
      path.push(data.name)
    }
    if (type !== 'test:pass' && type !== 'test:fail') continue
    const outcome = data.skip !== undefined || data.todo !== undefined ? 'skip' : type.slice('test:'.length)
    const error = data.details.error?.cause ?? data.details.error
    appendFileSync(process.env.FC_ECOSYSTEM_RESULTS, JSON.stringify({
      test: path.slice(0, data.nesting + 1).join(' > '),
      outcome,
      ms: Math.round(data.details.duration_ms),
      ...(outcome === 'fail' && { error: String(error?.stack ?? error).slice(0, 1500) })
    }) + '\n')
  }
}
