// The example service with RACE=1, as it is, while requests to all of its routes overlap: nothing is reported. `.ci/race` runs this.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { PNG } from 'pngjs'
import t, { type Test } from 'tap'
import { execArgv } from '../../../test/helper.ts'

const path = (file: string): string => fileURLToPath(new URL(file, import.meta.url))

interface Service {
  address: string
  /** Sends SIGTERM, and resolves when the process has ended. */
  end (): Promise<{ code: number, stderr: string }>
}

async function start (t: Test, preloads: readonly string[]): Promise<Service> {
  const imports = [path('../../src/register/index.ts'), ...preloads].flatMap((file) => ['--import', file])
  const service = spawn(process.execPath, [...execArgv, ...imports, path('../../../example/server.ts')], {
    env: { PATH: process.env['PATH'], RACE: '1', PORT: '0', LOG_LEVEL: 'error' },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  t.teardown(() => { service.kill('SIGKILL') })
  const exited = once(service, 'exit')
  const stderr = text(service.stderr)
  for await (const line of createInterface(service.stdout)) {
    const address = /^Open (http:\S+) /.exec(line)?.[1]
    if (address === undefined) continue
    service.stdout.resume()
    return {
      address,
      async end () {
        service.kill('SIGTERM')
        const [code] = await exited as [number]
        return { code, stderr: await stderr }
      }
    }
  }
  throw new Error(`The service ended before it listened: ${await stderr}`)
}

const json = (payload: object): RequestInit => ({ method: 'POST', body: JSON.stringify(payload), headers: { 'content-type': 'application/json' } })

function picture (): RequestInit {
  const png = new PNG({ width: 64, height: 64, fill: true })
  return { method: 'POST', body: new Uint8Array(PNG.sync.write(png)), headers: { 'content-type': 'image/png' } }
}

const password = 'correct horse'
const hash = `$scrypt$ln=15,r=8,p=1$${'A'.repeat(22)}$${'A'.repeat(43)}`
const progress = { headers: { accept: 'application/x-ndjson', 'x-api-key': 'enterprise-ada' } }

/** Requests to the routes that need more than a GET; some differ only in what they carry, so that they meet. */
const requests: ReadonlyArray<readonly [url: string, init?: RequestInit]> = [
  ['/search?q=oslo', { headers: { 'x-api-key': 'enterprise-ada' } }], ['/search?q=tokoy', progress], ['/report?q=tokoy&q=pariss'],
  ['/passwords', json({ password })], ['/passwords/verify', json({ password, hash })],
  ['/users', json({ name: 'Ada', email: 'ada@example.org' })], ['/users', json({ name: 'Bob', email: 'bob@example.org' })],
  ['/webhooks', json({ id: 'e1', type: 'paid' })], ['/webhooks', json({ id: 'e2', type: 'paid' })],
  ['/thumbnails?width=16', picture()], ['/load/flood', { method: 'POST' }], ['/dashboard/cancel?pool=workers&id=none', { method: 'POST' }],
  ['/dashboard/tasks/act?name=none&action=retry', { method: 'POST' }], ['/dashboard/tasks/inspect?name=none'], ['/dashboard/history'],
  ['/dashboard/tasks/failed?name=none']
]

/** Asks as a browser does: the dashboard without `authorize` refuses what fetch() of Node sends, since a proxy may have made it. */
async function browse (url: string, method = 'GET'): Promise<IncomingMessage> {
  const asked = request(url, { method })
  asked.end()
  const [response] = await once(asked, 'response') as [IncomingMessage]
  response.resume()
  return response
}

/** Sends requests to all routes, each twice and all at once, beside an open dashboard. Returns the share that was served. */
async function overlap (address: string): Promise<number> {
  const plain = await (await fetch(`${address}/routes`)).json() as string[]
  const events = await browse(`${address}/dashboard/events`)
  const all = [...requests, ...plain.map((url) => [url] as const)]
  const served = await Promise.all(all.flatMap((each) => [each, each]).map(async ([url, init]) => {
    if (url.startsWith('/dashboard')) {
      const response = await browse(`${address}${url}`, init?.method)
      if (!response.readableEnded && !url.endsWith('/events')) await once(response, 'close')
      response.destroy()
      return response.statusCode === 200
    }
    const response = await fetch(`${address}${url}`, init)
    await response.arrayBuffer()
    return response.ok
  }))
  events.destroy()
  return served.filter(Boolean).length / served.length
}

/** A race that is only possible fails no run. The service runs from source, where the suite's own modules are looked at too. */
const CONFIRMED = /^WARNING: RACE (?!\(possible\)).*/gm

t.test('the service as it is: no race is reported, and the process ends with 0', async (t) => {
  const service = await start(t, [path('routes.ts')])
  t.ok(await overlap(service.address) > 0.7, 'most requests are served')
  const { code, stderr } = await service.end()
  t.equal(code, 0)
  t.strictSame(stderr.match(CONFIRMED), null)
  t.notMatch(stderr, /not requested: /)
})

t.test('with one planted race: that is reported, it alone, and the process ends with 66', async (t) => {
  const service = await start(t, [path('routes.ts'), path('planted.ts')])
  await overlap(service.address)
  const { code, stderr } = await service.end()
  t.equal(code, 66)
  t.strictSame(stderr.match(CONFIRMED), ['WARNING: RACE lost update on planted'])
  t.match(stderr, /RACE: found 1 race\n/)
})
