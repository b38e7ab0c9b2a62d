/**
 * Sends bodies below 1 MB, of every shape that JSON has, through an identity job with default options. It measures how much longer the event loop is
 * held than by a route that answers with a structuredClone of the body, and counts ends of the process and jobs of others that are lost.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { random } from './lib/random.mjs'
import { Report } from './lib/report.mjs'

const SIZE = 1_000_000
const AT_ONCE = 4

const report = new Report('payloads', { rounds: '5', trees: '20' })
const rounds = report.number('rounds')
const trees = report.number('trees')

/** @param {string} part @param {string} [open] @param {string} [close] */
const many = (part, open = '[', close = ']') => open + Array.from({ length: Math.floor((SIZE - 2) / (part.length + 1)) }, () => part).join(',') + close
/** @param {(n: number) => string} entry */
const entries = (entry) => {
  const parts = []
  for (let n = 0, size = 2; ; n++) {
    const part = entry(n)
    size += part.length + 1
    if (size > SIZE) return parts.join(',')
    parts.push(part)
  }
}
/** @param {number} depth @param {string} [open] @param {string} [close] */
const nested = (depth, open = '[', close = ']') => open.repeat(depth) + '1' + close.repeat(depth)

/** A random tree of at most about `size` characters. @param {() => number} rng @param {number} size @returns {string} */
function tree (rng, size) {
  const kind = rng()
  if (size < 16 || kind < 0.1) return ['1', '""', 'null', '[]', '{}', '-1.5e7', '"é\\u0000"'][Math.floor(rng() * 7)] ?? 'true'
  if (kind < 0.15) return JSON.stringify('x'.repeat(size - 2))
  const parts = []
  const each = rng() < 0.5 ? size * rng() : 16 + size ** rng()
  for (let left = size - 2; left > 16;) {
    const key = kind < 0.6 ? `"${Math.floor(rng() * 1e9).toString(rng() < 0.5 ? 10 : 36)}":` : ''
    const part = key + tree(rng, Math.min(left, each) - key.length)
    left -= part.length + 1
    parts.push(part)
  }
  return kind < 0.6 ? `{${parts.join(',')}}` : `[${parts.join(',')}]`
}

/** @type {Record<string, string>} */
const shapes = {
  'empty objects': many('{}'),
  'empty arrays': many('[]'),
  numbers: many('1'),
  strings: many('""'),
  'small objects': many('{"a":1}'),
  'distinct keys': `[${entries((n) => `{"${n.toString(36)}":1}`)}]`,
  'many keys': `{${entries((n) => `"k${n.toString(36)}":1`)}}`,
  'sparse indices': `{${entries((n) => `"${n * 1_000}":1`)}}`,
  'one string': JSON.stringify('x'.repeat(SIZE - 2)),
  'one key': `{"${'k'.repeat(SIZE - 6)}":1}`,
  '8 KB of brackets': nested(4_000),
  '1,500 levels': nested(1_500),
  '3,000 levels': nested(3_000),
  '1 MB of brackets': nested(SIZE / 2 - 1),
  'nested objects': nested(SIZE / 6 - 1, '{"a":', '}'),
  'wide at each level': nested(40_000, '[{},[],1,"","",{"a":1},', ']'),
  'wide, then deep': `[${many('{}').slice(1, SIZE - 100_000).replace(/,[^,]*$/, '')},${nested(40_000)}]`
}
for (let seed = 1; seed <= trees; seed++) shapes[`random tree ${seed}`] = tree(random(seed), SIZE - 1_000)
const large = Object.entries(shapes).find(([, text]) => text.length > 1_048_576)
if (large !== undefined) throw new RangeError(`"${large[0]}" is larger than Fastify's bodyLimit`)

let ends = 0
/** @type {import('node:child_process').ChildProcess | undefined} */
let child
let url = ''
async function start () {
  child = fork(new URL('servers/payloads.mjs', import.meta.url))
  child.once('exit', () => { child = undefined })
  const [port] = await once(child, 'message')
  url = `http://127.0.0.1:${port}`
}

/** @param {string} path @param {string} [body] @param {string} [type] @returns {Promise<{ status: number, body: any }>} */
async function ask (path, body, type = 'application/json') {
  const response = await fetch(url + path, body === undefined ? {} : { method: 'POST', body, headers: { 'content-type': type } })
  const text = await response.text()
  return { status: response.status, body: text.length < 1_000 ? JSON.parse(text) : undefined }
}

/** How long the event loop was held at most while a body was answered `times` at once. @param {string} path @param {string} body @param {number} times */
async function held (path, body, times) {
  await ask('/held')
  const answers = await Promise.all(Array.from({ length: times }, () => ask(path, body)))
  const { body: { held } } = await ask('/held')
  return { held: /** @type {number} */ (held), answer: answers[0]?.body?.code ?? answers[0]?.status }
}

await start()
await held('/job', many('1'), 8)
const rows = []
for (const [shape, text] of Object.entries(shapes)) {
  // The quickest round counts, because other processes of the machine can only add to the time.
  const least = { clone: Infinity, job: Infinity, 'direct clone': Infinity, 'direct job': Infinity, 'clones at once': Infinity, 'jobs at once': Infinity }
  /** @param {keyof typeof least} what @param {number} ms */
  const note = (what, ms) => { least[what] = Math.min(least[what], ms) }
  let answer
  for (let round = 0; round < rounds; round++) {
    try {
      note('clone', (await held('/clone', text, 1)).held)
      const job = await held('/job', text, 1)
      answer = job.answer
      note('job', job.held)
      for (const how of /** @type {const} */ (['clone', 'job'])) {
        const { status, body } = await ask(`/direct/${how}`, text, 'text/plain')
        if (status === 200) note(`direct ${how}`, body.held)
      }
      note('clones at once', (await held('/clone', text, AT_ONCE)).held)
      note('jobs at once', (await held('/job', text, AT_ONCE)).held)
    } catch (error) {
      if (child?.connected === true) throw error
      ends++
      await start()
    }
  }
  rows.push({
    shape,
    answer,
    'HTTP, clone ms': least.clone,
    'job ms': least.job,
    'direct, clone ms': least['direct clone'],
    'direct, job ms': least['direct job'],
    [`${AT_ONCE} at once, clone ms`]: least['clones at once'],
    [`${AT_ONCE} at once, job ms`]: least['jobs at once']
  })
}
report.table(`For how long the event loop was held, quickest of ${rounds} rounds`, rows)
for (const way of ['HTTP', 'direct', `${AT_ONCE} at once`]) {
  const beyond = rows.map((row) => Number(row[way === 'HTTP' ? 'job ms' : `${way}, job ms`]) - Number(row[`${way}, clone ms`])).filter(Number.isFinite)
  report.bar(`held beyond structuredClone, ${way}, worst shape`, Math.max(...beyond), '<=', 50, ' ms')
}
report.bar('process ends', ends, '<=', 0)
const { body: { sent, lost } } = await ask('/held')
report.bar(`other jobs lost, of ${sent}`, lost, '<=', 0)
report.end()
child?.disconnect()
