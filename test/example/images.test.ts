// The image code of the example by itself: coverage and speed, and no thread needed.
import { deflateSync } from 'node:zlib'
import jpeg from 'jpeg-js'
import t, { type Test } from 'tap'
import { owned } from '../../example/images/bytes.ts'
import { decode, MAX_PIXELS, sizeOf } from '../../example/images/decode.ts'
import { formatOf } from '../../example/images/format.ts'
import { endOfJpeg } from '../../example/images/jpeg.ts'
import { upright } from '../../example/images/orient.ts'
import { shrink } from '../../example/images/resize.ts'
import { hugeJpeg, hugePng, makeJpeg, makePng, PNG_SIGNATURE, pngChunk, pngHeader, withOrientation } from './pictures.ts'

function refuses (t: Test, run: () => unknown, pattern: object, message = 'refused'): void {
  try {
    run()
    t.fail(`${message}: nothing was thrown`)
  } catch (error) {
    t.match(error, { name: 'ImageError', ...pattern }, message)
  }
}

const grey = (level: number) => [level, level, level] as const

t.test('bytes that share their buffer are copied before they are given away, others are not', async (t) => {
  const slab = new Uint8Array(100)
  const part = slab.subarray(10, 20).fill(7)
  t.not(owned(part), slab.buffer)
  t.same(new Uint8Array(owned(part)), part)
  t.equal(owned(slab), slab.buffer)
  t.equal(owned(Buffer.from('small, so cut from the slab')).byteLength, 27)
})

t.test('the first bytes say what it is', async (t) => {
  t.equal(formatOf(makeJpeg(1, 1, () => grey(0))), 'jpeg')
  t.equal(formatOf(makePng(1, 1, () => grey(0))), 'png')
  t.equal(formatOf(Buffer.from('GIF89a')), undefined)
  t.equal(formatOf(Buffer.alloc(0)), undefined)
})

t.test('each new pixel is the mean of the area that it covers', async (t) => {
  const of = (width: number, height: number, levels: number[]) =>
    Uint8Array.from(levels.flatMap((level) => [level, level, level, 255])).subarray(0, width * height * 4)
  const levels = (pixels: Uint8Array) => Array.from({ length: pixels.length / 4 }, (_, i) => pixels[i * 4])

  t.same(levels(shrink(of(2, 2, [0, 100, 100, 200]), { width: 2, height: 2 }, { width: 1, height: 1 })), [100])
  // Three columns into two: the middle one is shared.
  t.same(levels(shrink(of(3, 1, [0, 90, 180]), { width: 3, height: 1 }, { width: 2, height: 1 })), [30, 150])
  t.same(levels(shrink(of(1, 3, [0, 90, 180]), { width: 1, height: 3 }, { width: 1, height: 2 })), [30, 150])
  t.same(levels(shrink(of(2, 1, [10, 20]), { width: 2, height: 1 }, { width: 2, height: 1 })), [10, 20], 'the same size changes nothing')
})

t.test('a flat picture stays flat at any size', async (t) => {
  for (const [width, height, to] of [[7, 5, 3], [100, 33, 64], [641, 479, 320], [1000, 1, 999]] as const) {
    const source = new Uint8Array(width * height * 4).fill(255)
    for (let i = 0; i < source.length; i += 4) source.set([12, 34, 56], i)
    const small = shrink(source, { width, height }, { width: to, height: Math.max(1, Math.round(height * to / width)) })
    const off = small.findIndex((value, i) => value !== [12, 34, 56, 255][i % 4])
    t.equal(off, -1, `${width} x ${height} to ${to}`)
  }
})

t.test('what is transparent becomes white, however it is coloured', async (t) => {
  const source = Uint8Array.from([255, 0, 0, 0, 0, 0, 0, 255])
  t.same([...shrink(source, { width: 2, height: 1 }, { width: 1, height: 1 })], [128, 128, 128, 255])
})

t.test('the eight ways to hold a camera', async (t) => {
  // Stored 2 x 3: a b / c d / e f
  const stored = new Uint8Array(24).map((_, i) => i >> 2)
  const expected: Record<number, string> = { 1: 'abcdef', 2: 'badcfe', 3: 'fedcba', 4: 'efcdab', 5: 'acebdf', 6: 'ecafdb', 7: 'fdbeca', 8: 'bdface' }
  for (const [orientation, letters] of Object.entries(expected)) {
    const pixels = upright(stored, { width: 2, height: 3 }, Number(orientation))
    t.equal(Array.from({ length: 6 }, (_, i) => 'abcdef'[pixels[i * 4]!]).join(''), letters, `orientation ${orientation}`)
  }
})

t.test('the size is read from the header, with the orientation', async (t) => {
  t.same(sizeOf(makePng(3, 2, () => grey(0))), { width: 3, height: 2, orientation: 1 })
  t.same(sizeOf(withOrientation(makeJpeg(3, 2, () => grey(0)), 6)), { width: 3, height: 2, orientation: 6 })
  t.equal(sizeOf(withOrientation(makeJpeg(3, 2, () => grey(0)), 77)).orientation, 1)
})

t.test('a header that claims too much is refused before anything is decoded', async (t) => {
  refuses(t, () => sizeOf(hugePng()), { statusCode: 413, code: 'IMAGE_TOO_LARGE', message: /60000 × 60000/ })
  refuses(t, () => sizeOf(hugeJpeg()), { statusCode: 413 })
  t.doesNotThrow(() => sizeOf(Buffer.concat([PNG_SIGNATURE, pngHeader(MAX_PIXELS, 1)])))
  refuses(t, () => sizeOf(Buffer.concat([PNG_SIGNATURE, pngHeader(0, 1)])), { statusCode: 422 })
})

t.test('a second header can\'t claim what the first does not', async (t) => {
  const png = Buffer.concat([PNG_SIGNATURE, pngHeader(1, 1), pngHeader(60_000, 60_000), pngChunk('IDAT', deflateSync(Buffer.alloc(4))), pngChunk('IEND')])
  refuses(t, () => decode(png, sizeOf(png)), { statusCode: 422 })

  const small = makeJpeg(16, 16, () => grey(0))
  const frames = Buffer.concat([small.subarray(0, 2), small.subarray(small.indexOf(Buffer.from([0xFF, 0xC0])), -2), hugeJpeg().subarray(2)])
  refuses(t, () => decode(frames, sizeOf(frames)), { statusCode: Number })
})

t.test('data that inflates to more than the header says is refused, interlaced or not', async (t) => {
  const bomb = deflateSync(Buffer.alloc(64 * 1024 * 1024))
  const interlaced = Buffer.concat([PNG_SIGNATURE, pngHeader(8, 8, { interlaced: true }), pngChunk('IDAT', bomb), pngChunk('IEND')])
  const before = process.memoryUsage().arrayBuffers
  refuses(t, () => decode(interlaced, sizeOf(interlaced)), { statusCode: 422, cause: { code: 'ERR_BUFFER_TOO_LARGE' } })
  const plain = Buffer.concat([PNG_SIGNATURE, pngHeader(8, 8), pngChunk('IDAT', bomb), pngChunk('IEND')])
  refuses(t, () => decode(plain, sizeOf(plain)), { statusCode: 422 })
  t.ok(process.memoryUsage().arrayBuffers - before < bomb.length + 16 * 1024 * 1024, 'neither was inflated')
})

t.test('an interlaced image of the size that it says is decoded', async (t) => {
  // Seven passes over 8 x 8 pixels: 15 rows, each with its filter byte.
  const passes = [[1, 1], [1, 1], [2, 1], [2, 2], [4, 2], [4, 4], [8, 4]] as const
  const bytes = passes.reduce((sum, [width, rows]) => sum + rows * (1 + 3 * width), 0)
  const png = Buffer.concat([PNG_SIGNATURE, pngHeader(8, 8, { interlaced: true }), pngChunk('IDAT', deflateSync(Buffer.alloc(bytes))), pngChunk('IEND')])
  t.same(new Set(decode(png, sizeOf(png))), new Set([0, 255]), 'black and opaque')
})

t.test('damage is a 422 wherever it is, and never another error', async (t) => {
  const whole = { jpeg: makeJpeg(40, 30, (x, y) => [x * 6, y * 8, 90]), png: makePng(40, 30, (x, y) => [x * 6, y * 8, 90]) }
  for (const [format, image] of Object.entries(whole)) {
    for (let length = 9; length < image.length; length += 7) {
      const part = Buffer.from(owned(image.subarray(0, length)))
      refuses(t, () => decode(part, sizeOf(part)), { statusCode: 422 }, `${format} cut at ${length}`)
    }
    for (let at = 9; at < image.length; at += 5) {
      const damaged = Buffer.from(image)
      damaged[at]! ^= 0xFF
      try {
        decode(damaged, sizeOf(damaged))
      } catch (error) {
        t.match(error, { name: 'ImageError', statusCode: Number }, `${format} damaged at ${at}`)
      }
    }
  }
})

t.test('a film behind the photo is not read', async (t) => {
  const photo = makeJpeg(16, 16, () => grey(80))
  const film = Buffer.concat([photo, Buffer.from([0xFF, 0xDA, 0xFF, 0xC0, 1, 2, 3])])
  t.equal(endOfJpeg(film), photo.length)
  t.same(decode(film, sizeOf(film)), jpeg.decode(photo, { useTArray: true }).data)
})
