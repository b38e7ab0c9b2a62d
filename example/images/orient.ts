import type { Box } from './resize.ts'

/** Whether an EXIF orientation turns the image on its side. */
export const isTurned = (orientation: number): boolean => orientation >= 5

/**
 * Turns RGBA pixels upright.
 * @param box of the pixels as they are stored
 * @param orientation EXIF, 1 to 8
 */
export function upright (pixels: Uint8Array, box: Box, orientation: number): Uint8Array {
  if (orientation === 1) return pixels
  const { width, height } = box
  const turned = isTurned(orientation)
  const [right, bottom] = [width - 1, height - 1]
  const rowLength = turned ? height : width
  const from = new Uint32Array(pixels.buffer, pixels.byteOffset, width * height)
  const to = new Uint32Array(width * height)
  const mirroredX = [2, 3, 7, 8].includes(orientation)
  const mirroredY = [3, 4, 6, 7].includes(orientation)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const column = mirroredX ? right - x : x
      const row = mirroredY ? bottom - y : y
      to[turned ? column * rowLength + row : row * rowLength + column] = from[y * width + x]!
    }
  }
  return new Uint8Array(to.buffer)
}
