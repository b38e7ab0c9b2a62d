import { once } from 'node:events'
import { connect, type AddressInfo, type Socket } from 'node:net'
import jpeg from 'jpeg-js'
import t, { type Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { serve } from './helper.ts'
import { hugeJpeg, hugePng, makeJpeg, makePng, withOrientation } from './pictures.ts'

const upload = (app: FastifyInstance, payload: Buffer | string, { type = 'image/jpeg', width = 8, accept = '*/*' } = {}) =>
  app.inject({ method: 'POST', url: `/thumbnails?width=${width}`, payload, headers: { 'content-type': type, accept } })

const lines = (body: string) => body.trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>)

t.test('thumbnails', async (t) => {
  const app = await serve(t)

  t.test('a JPEG or PNG becomes a smaller JPEG of the same colours', async (t) => {
    const colour = [200, 80, 40] as const
    for (const [type, image] of [['image/jpeg', makeJpeg(64, 32, () => colour)], ['image/png', makePng(64, 32, () => colour)]] as const) {
      const response = await upload(app, image, { type, width: 16 })
      t.equal(response.statusCode, 200)
      t.equal(response.headers['content-type'], 'image/jpeg')
      const { width, height, data } = jpeg.decode(response.rawPayload)
      t.same({ width, height }, { width: 16, height: 8 })
      for (const [channel, value] of colour.entries()) t.ok(Math.abs(data[channel]! - value) < 6, `${type}: channel ${channel} is ${data[channel]}`)
    }
  })

  t.test('what is transparent is white, what was held sideways stands upright, what is small stays small', async (t) => {
    const clear = jpeg.decode((await upload(app, makePng(16, 16, () => [255, 0, 0, 0]), { type: 'image/png' })).rawPayload)
    t.ok(clear.data.subarray(0, 3).every((value) => value > 250))
    // Red above blue, turned a quarter clockwise: blue is on the left.
    const sideways = withOrientation(makeJpeg(32, 64, (_x, y) => y < 32 ? [255, 0, 0] : [0, 0, 255]), 6)
    const standing = jpeg.decode((await upload(app, sideways, { width: 32 })).rawPayload)
    t.same([standing.width, standing.height], [32, 16])
    t.ok(standing.data[2]! > 200 && standing.data[0]! < 60, 'blue')
    t.equal(jpeg.decode((await upload(app, makeJpeg(5, 5, () => [0, 0, 0]), { width: 2048 })).rawPayload).width, 5)
    const strip = jpeg.decode((await upload(app, makePng(1, 70_000, () => [9, 9, 9]), { type: 'image/png', width: 16 })).rawPayload)
    t.same([strip.width, strip.height], [1, 4_096], 'a strip is no longer than a JPEG can be')
  })

  t.test('progress comes first, the thumbnail last', async (t) => {
    const response = await upload(app, makeJpeg(64, 64, () => [0, 90, 0]), { accept: 'application/x-ndjson' })
    t.match(response.headers['content-type'], /^application\/x-ndjson/)
    const all = lines(response.body)
    t.same(all.slice(0, -1).map((line) => Object.keys(line)), Array(all.length - 1).fill(['progress']))
    t.same(all[0], { progress: { stage: 'decoding', done: 0 } })
    t.match(all.at(-1), { result: { width: 8, height: 8, src: /^data:image\/jpeg;base64,/ } })
  })

  t.test('what is no image is a 415', async (t) => {
    for (const [payload, type] of [
      ['hello', 'text/plain'], ['{"a":1}', 'application/json'], ['GIF89a......', 'image/gif'], ['<svg/>', 'image/svg+xml'],
      ['not what it says', 'image/jpeg'], ['', 'image/png'], [makeJpeg(8, 8, () => [0, 0, 0]), 'text/plain']
    ] as const) {
      t.equal((await upload(app, payload, { type })).statusCode, 415, `${String(payload).slice(0, 20)} as ${type}`)
    }
    t.equal((await app.inject({ method: 'POST', url: '/thumbnails' })).statusCode, 415, 'no body at all')
  })

  t.test('what is too large is a 413, whether it is or only says so', async (t) => {
    t.equal((await upload(app, Buffer.alloc(10 * 1024 * 1024 + 1))).statusCode, 413)
    for (const [type, image] of [['image/png', hugePng()], ['image/jpeg', hugeJpeg()]] as const) {
      const response = await upload(app, image, { type })
      t.equal(response.statusCode, 413, type)
      t.match(response.json(), { message: /60000 × 60000 pixels/ })
      t.equal((await upload(app, image, { type, accept: 'application/x-ndjson' })).statusCode, 413, `${type}, with progress`)
    }
  })

  t.test('a damaged image is a 422', async (t) => {
    const whole = makeJpeg(32, 32, (x, y) => [x * 8, y * 8, 0])
    for (const image of [whole.subarray(0, 100), whole.subarray(0, -40), Buffer.concat([whole.subarray(0, 20), Buffer.alloc(500)]), makePng(9, 9, () => [1, 2, 3]).subarray(0, 60)]) {
      const response = await upload(app, image)
      t.equal(response.statusCode, 422)
      t.match(response.json(), { code: 'IMAGE_CORRUPT', message: String })
    }
    const told = await upload(app, whole.subarray(0, -40), { accept: 'application/x-ndjson' })
    t.match(lines(told.body).at(-1), { error: { statusCode: 422 } }, 'found out after progress was sent')
  })

  t.test('a width out of range is a 400', async (t) => {
    for (const width of [0, -1, 2049, 1.5, NaN]) t.equal((await upload(app, makeJpeg(8, 8, () => [0, 0, 0]), { width })).statusCode, 400)
  })

  t.test('small uploads share a slab of memory, and none takes the others\' bytes away', async (t) => {
    const bystander = Buffer.from('a string in the slab')
    const images = Array.from({ length: 8 }, (_, i) => makeJpeg(8, 8, () => [i * 30, 0, 0]))
    const made = await Promise.all(images.map((image) => upload(app, image)))
    t.same(made.map(({ statusCode }) => statusCode), Array(8).fill(200))
    made.forEach(({ rawPayload }, i) => t.ok(Math.abs(jpeg.decode(rawPayload).data[0]! - i * 30) < 8))
    t.equal(bystander.toString(), 'a string in the slab')
  })
})

t.test('an upload is moved to the thread, not copied', async (t) => {
  const left: number[] = []
  const app = await serve(t, (app) => {
    app.addHook('onSend', async (request) => { left.push((request.body as Buffer).length) })
  })
  const image = makeJpeg(600, 600, (x, y) => [x ^ y, x, y])
  t.ok(image.length > Buffer.poolSize / 2, 'too large for the slab')
  t.equal((await upload(app, image)).statusCode, 200)
  t.same(left, [0], 'the main thread holds nothing of it any more')
})

t.test('search', async (t) => {
  const app = await serve(t)
  const find = (query: string, headers = {}) => app.inject({ url: `/search?${query}`, headers })

  t.test('finds what was meant, the closest and largest first', async (t) => {
    t.match((await find('q=tokoy')).json(), { matches: [{ name: 'Tokyo', country: 'JP', distance: 1 }], compared: 135_233 })
    t.match((await find('q=SAO+PAULO')).json(), { matches: [{ name: 'São Paulo', country: 'BR', distance: 0 }] })
    const { matches } = (await find('q=springfeild')).json<{ matches: Array<{ distance: number, population: number }> }>()
    t.equal(matches.length, 10)
    t.same(matches, matches.toSorted((a, b) => a.distance - b.distance || b.population - a.population))
  })

  t.test('in any order', async (t) => {
    t.match((await find('q=siera+cruz&anyOrder=true')).json(), { compared: 2 * 135_233 })
    t.match((await find('q=janero+rio+de&anyOrder=true')).json(), { matches: [{ name: 'Rio de Janeiro', distance: 1 }] })
    t.equal((await find('q=a+b+c+d+e+f&anyOrder=true')).statusCode, 400)
    t.equal((await find('q=a+b+c+d+e+f')).statusCode, 200)
  })

  t.test('reports its progress', async (t) => {
    const all = lines((await find('q=paris', { accept: 'application/x-ndjson' })).body)
    t.same(all.slice(0, -1).map(({ progress }) => progress), Array.from({ length: 100 }, (_, percent) => percent / 100))
    t.match(all.at(-1), { result: { matches: [{ name: 'Paris' }] } })
  })

  t.test('a query that is missing, blank or too long is a 400', async (t) => {
    for (const query of ['', 'q=', 'q=+++', `q=${'x'.repeat(65)}`, 'q=x&anyOrder=perhaps']) t.equal((await find(query)).statusCode, 400, query)
  })
})

t.test('a client that leaves cancels its search, and the thread is free for the next', async (t) => {
  const app = await serve(t)
  await app.listen({ port: 0 })
  const client = connect((app.server.address() as AddressInfo).port)
  const path = '/search?q=del+fernado+vale+catamarca+san&anyOrder=true'
  client.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n`)
  await received(client, /"progress":0\.01/)
  t.equal(app.workers.stats().running, 1)
  client.destroy()
  await app.workers.idle()
  t.match(app.workers.stats().jobs['search'], { aborted: 1, completed: 0, failed: 0 })
  t.equal((await app.inject('/search?q=tokoy')).statusCode, 200)
})

async function received (socket: Socket, pattern: RegExp): Promise<void> {
  let text = ''
  while (!pattern.test(text)) text += String((await once(socket, 'data') as [Buffer])[0])
}

t.test('passwords', async (t) => {
  const app = await serve(t)
  const post = (url: string, payload: object) => app.inject({ method: 'POST', url, payload })
  const password = 'correct horse battery'

  const hashes = await Promise.all([1, 2].map(async () => (await post('/passwords', { password })).json<{ hash: string }>().hash))
  t.match(hashes[0], /^\$scrypt\$ln=15,r=8,p=1\$[^$=]{22}\$[^$=]{43}$/)
  t.not(hashes[0], hashes[1], 'each has a salt of its own')
  t.same((await post('/passwords/verify', { password, hash: hashes[0] })).json(), { matches: true })
  t.same((await post('/passwords/verify', { password: 'incorrect horse', hash: hashes[0] })).json(), { matches: false })

  for (const payload of [{}, { password: 'short' }, { password: 'x'.repeat(129) }, { password: null }, []]) {
    t.equal((await post('/passwords', payload)).statusCode, 400)
  }
  t.equal((await post('/passwords', { password: 'x'.repeat(5_000) })).statusCode, 413)
  const costly = hashes[0]!.replace('ln=15', 'ln=30')
  t.equal((await post('/passwords/verify', { password, hash: costly })).statusCode, 400, 'nobody chooses the cost for us')
})

t.test('the page, its files and what it polls', async (t) => {
  const app = await serve(t)
  const get = async (url: string) => await app.inject(url)
  await pageHas(t, await get('/'), 'text/html; charset=utf-8', '<title>fastify-concurrency')
  await pageHas(t, await get('/page.js'), 'text/javascript; charset=utf-8', 'AbortController')
  await pageHas(t, await get('/style.css'), 'text/css; charset=utf-8', 'prefers-color-scheme')
  t.same((await get('/ping')).json(), { pong: true })
  t.match((await get('/stats')).json(), { maxThreads: 2, running: 0, waiting: 0, jobs: { thumbnail: { completed: 0 }, search: {}, password: {} } })
  t.equal((await get('/../app.ts')).statusCode, 404)
})

async function pageHas (t: Test, response: Awaited<ReturnType<FastifyInstance['inject']>>, type: string, text: string): Promise<void> {
  t.equal(response.statusCode, 200)
  t.equal(response.headers['content-type'], type)
  t.match(response.headers['content-security-policy'], /default-src 'self'/)
  t.ok(response.body.includes(text))
}
