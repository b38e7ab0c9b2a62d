import jpeg from 'jpeg-js'
import { corrupt, ImageError } from './errors.ts'

const EOI = 0xD9
const SOS = 0xDA
const hasNoLength = (marker: number): boolean => marker === 0x01 || (marker >= 0xD0 && marker <= 0xD8)

/**
 * Where the image ends. jpeg-js reads zeros past the end of its input, so that half an upload would come out as a
 * picture with a grey half; and phones append films to their photos, which it must not read.
 */
export function endOfJpeg (bytes: Uint8Array): number {
  let at = 2
  while (at + 1 < bytes.length) {
    if (bytes[at] !== 0xFF) throw corrupt('The JPEG has no marker where one must be')
    const marker = bytes[at + 1]!
    if (marker === EOI) return at + 2
    if (marker === 0xFF) { at++; continue }
    at += 2
    if (hasNoLength(marker)) continue
    at += (bytes[at]! << 8) | bytes[at + 1]!
    if (marker === SOS) at = endOfScan(bytes, at)
  }
  throw corrupt('The JPEG is cut off')
}

/** Within a scan, 0xFF 0x00 is an escaped byte and 0xFF 0xD0-0xD7 a restart; any other marker ends it. */
function endOfScan (bytes: Uint8Array, from: number): number {
  let at = bytes.indexOf(0xFF, from)
  while (at !== -1) {
    const next = bytes[at + 1]
    if (next !== 0 && !(next !== undefined && next >= 0xD0 && next <= 0xD7)) return at
    at = bytes.indexOf(0xFF, at + 2)
  }
  return bytes.length
}

/** RGBA. */
export function decodeJpeg (bytes: Uint8Array, maxPixels: number): Uint8Array {
  const image = bytes.subarray(0, endOfJpeg(bytes))
  try {
    // Its own limits hold for every frame, also one that hides behind the first.
    return jpeg.decode(image, { useTArray: true, maxResolutionInMP: maxPixels / 1e6, maxMemoryUsageInMB: 1024 }).data
  } catch (cause) {
    if (cause instanceof Error && /limit exceeded/.test(cause.message)) {
      throw new ImageError('IMAGE_TOO_LARGE', 'The JPEG takes too much memory to decode', { cause })
    }
    throw corrupt('The JPEG can\'t be decoded', cause)
  }
}

/** An ArrayBuffer's worth of JPEG from RGBA. */
export function encodeJpeg (data: Uint8Array, width: number, height: number, quality: number): Uint8Array {
  return jpeg.encode({ data, width, height }, quality).data
}
