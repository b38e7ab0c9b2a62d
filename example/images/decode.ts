import { imageSize } from 'image-size'
import { corrupt, ImageError } from './errors.ts'
import { formatOf } from './format.ts'
import { decodeJpeg } from './jpeg.ts'
import { decodePng } from './png.ts'

/** A decoded image takes four bytes a pixel, and three times that while it's decoded. */
export const MAX_PIXELS = 40_000_000

export interface Size {
  width: number
  height: number
  /** EXIF: how to turn the stored image so that it stands upright, 1 to 8. 1: as it is. */
  orientation: number
}

/**
 * From the header alone: a few kilobytes can claim a picture of gigabytes, so nothing is decoded before this.
 * @param bytes the whole of their ArrayBuffer: image-size reads a truncated header on into what lies behind a view
 * @throws ImageError 413 over MAX_PIXELS, 422 if the header can't be read
 */
export function sizeOf (bytes: Buffer): Size {
  const { width, height, orientation = 1 } = readHeader(bytes)
  if (!(width > 0 && height > 0)) throw corrupt('The image has no pixels')
  if (width * height > MAX_PIXELS) {
    throw new ImageError('IMAGE_TOO_LARGE', `The image has ${width} × ${height} pixels; at most ${MAX_PIXELS / 1e6} million are decoded`)
  }
  return { width, height, orientation: orientation >= 1 && orientation <= 8 ? orientation : 1 }
}

function readHeader (bytes: Buffer): ReturnType<typeof imageSize> {
  try {
    return imageSize(bytes)
  } catch (cause) {
    throw corrupt('The image has no readable header', cause)
  }
}

/**
 * RGBA of as many pixels as `size` says.
 * @throws ImageError 422 if the image is damaged
 */
export function decode (bytes: Buffer, size: Size): Uint8Array {
  const pixels = formatOf(bytes) === 'png' ? decodePng(bytes) : decodeJpeg(bytes, MAX_PIXELS)
  if (pixels.length !== size.width * size.height * 4) throw corrupt('The image is not of the size that its header says')
  return pixels
}
