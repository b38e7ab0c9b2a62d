import { inflateSync } from 'node:zlib'
import { PNG } from 'pngjs'
import { corrupt } from './errors.ts'

interface Chunk { type: string, data: Buffer }

function * chunksOf (bytes: Buffer): Generator<Chunk> {
  let at = 8
  while (at + 12 <= bytes.length) {
    const start = at + 8
    const end = start + bytes.readUInt32BE(at)
    if (end + 4 > bytes.length) throw corrupt('The PNG is cut off')
    yield { type: bytes.toString('latin1', at + 4, start), data: bytes.subarray(start, end) }
    at = end + 4
  }
}

const channels: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }

/**
 * Refuses what would make pngjs allocate more than the checked dimensions say: it believes the last header of several,
 * and inflates an interlaced image without a bound.
 */
function refuseBombs (bytes: Buffer): void {
  const chunks = [...chunksOf(bytes)]
  const headers = chunks.filter(({ type }) => type === 'IHDR')
  const header = headers[0]?.data
  if (headers.length !== 1 || header?.length !== 13) throw corrupt('A PNG has exactly one header')
  const interlaced = header[12] === 1
  if (!interlaced) return
  const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)]
  const pixelBits = header[8]! * (channels[header[9]!] ?? 4)
  // Seven passes hold less than two rows for each row of the image; each row has a filter byte and up to one of padding.
  const maxOutputLength = Math.ceil(width * height * pixelBits / 8) + 2 * (2 * height + 14)
  inflateSync(Buffer.concat(chunks.filter(({ type }) => type === 'IDAT').map(({ data }) => data)), { maxOutputLength })
}

/** RGBA, alpha not premultiplied. */
export function decodePng (bytes: Buffer): Uint8Array {
  try {
    refuseBombs(bytes)
    return PNG.sync.read(bytes).data
  } catch (cause) {
    // pngjs throws undefined for some streams that don't inflate.
    throw corrupt('The PNG can\'t be decoded', cause)
  }
}
