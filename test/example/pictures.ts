// Pictures to upload, good and bad.
import { crc32 } from 'node:zlib'
import jpeg from 'jpeg-js'
import { PNG } from 'pngjs'

type Colour = readonly [red: number, green: number, blue: number, alpha?: number]
export type Paint = (x: number, y: number) => Colour

function paint (width: number, height: number, colourAt: Paint): Buffer {
  const data = Buffer.alloc(width * height * 4)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [red, green, blue, alpha = 255] = colourAt(x, y)
      data.set([red, green, blue, alpha], (y * width + x) * 4)
    }
  }
  return data
}

export const makeJpeg = (width: number, height: number, colourAt: Paint): Buffer =>
  jpeg.encode({ data: paint(width, height, colourAt), width, height }, 95).data

export function makePng (width: number, height: number, colourAt: Paint): Buffer {
  const png = new PNG({ width, height })
  png.data = paint(width, height, colourAt)
  return PNG.sync.write(png)
}

/** A JPEG whose camera says how it was held. */
export function withOrientation (image: Buffer, orientation: number): Buffer {
  const tiff = Buffer.from('4d4d002a00000008' + '0001' + '0112' + '0003' + '00000001' + '00000000' + '00000000', 'hex')
  tiff.writeUInt16BE(orientation, 18)
  const exif = Buffer.concat([Buffer.from('Exif\0\0'), tiff])
  const head = Buffer.from([0xFF, 0xE1, 0, exif.length + 2])
  return Buffer.concat([image.subarray(0, 2), head, exif, image.subarray(2)])
}

export const PNG_SIGNATURE = Buffer.from('89504e470d0a1a0a', 'hex')

export function pngChunk (type: string, data: Uint8Array = new Uint8Array()): Buffer {
  const chunk = Buffer.alloc(data.length + 12)
  chunk.writeUInt32BE(data.length, 0)
  chunk.write(type, 4, 'latin1')
  chunk.set(data, 8)
  chunk.writeUInt32BE(crc32(chunk.subarray(4, -4)), data.length + 8)
  return chunk
}

/** Eight bits a channel, RGB. */
export function pngHeader (width: number, height: number, { interlaced = false } = {}): Buffer {
  const data = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 8, 2, 0, 0, interlaced ? 1 : 0])
  data.writeUInt32BE(width, 0)
  data.writeUInt32BE(height, 4)
  return pngChunk('IHDR', data)
}

/** A few bytes that claim a huge picture. */
export const hugePng = (): Buffer => Buffer.concat([PNG_SIGNATURE, pngHeader(60_000, 60_000), pngChunk('IDAT'), pngChunk('IEND')])

/** The frame header of a small JPEG, overwritten. */
export function hugeJpeg (): Buffer {
  const image = makeJpeg(16, 16, () => [1, 2, 3])
  const frame = image.indexOf(Buffer.from([0xFF, 0xC0]))
  image.writeUInt16BE(60_000, frame + 5)
  image.writeUInt16BE(60_000, frame + 7)
  return image
}
