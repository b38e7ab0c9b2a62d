/**
 * Averages the area that each new pixel covers, on white where the image is transparent. Only for making smaller.
 *
 * A source pixel lies in at most two new columns and two new rows, so one pass over the source with two rows of sums
 * is enough, whatever its size.
 * @param source RGBA, `from.width * from.height` pixels
 * @param onRow called after each source row with the share done, 0 to 1
 * @returns RGBA, opaque, `to.width * to.height` pixels
 */
export function shrink (source: Uint8Array, from: Box, to: Box, onRow: (done: number) => void = () => {}): Uint8Array {
  const columns = split(from.width, to.width)
  const rows = split(from.height, to.height)
  const area = (from.width / to.width) * (from.height / to.height)
  const result = new Uint8Array(to.width * to.height * 4).fill(255)
  // A spare column takes the part of the last source column past the edge: nothing.
  const line = new Float64Array((to.width + 1) * 3)
  let sums = new Float64Array(to.width * 3)
  let next = new Float64Array(to.width * 3)

  for (let y = 0; y < from.height; y++) {
    addUp(source, y * from.width * 4, columns, line)
    const here = rows.share[y]!
    for (let i = 0; i < sums.length; i++) {
      sums[i]! += line[i]! * here
      next[i]! += line[i]! * (1 - here)
    }
    const row = rows.index[y]!
    if (y === from.height - 1 || rows.index[y + 1] !== row) {
      for (let x = 0; x < to.width; x++) {
        for (let c = 0; c < 3; c++) result[(row * to.width + x) * 4 + c] = Math.min(255, Math.round(sums[x * 3 + c]! / area))
      }
      [sums, next] = [next, sums]
      next.fill(0)
    }
    onRow((y + 1) / from.height)
  }
  return result
}

export interface Box {
  width: number
  height: number
}

interface Split {
  /** The new column that a source column begins in. */
  index: Uint32Array
  /** How much of it lies there; the rest lies in the next one. */
  share: Float64Array
}

function split (from: number, to: number): Split {
  const index = new Uint32Array(from)
  const share = new Float64Array(from)
  for (let i = 0; i < from; i++) {
    const into = Math.floor(i * to / from)
    index[i] = into
    share[i] = Math.min(1, (into + 1) * from / to - i)
  }
  return { index, share }
}

function addUp (source: Uint8Array, offset: number, { index, share }: Split, line: Float64Array): void {
  line.fill(0)
  for (let x = 0, at = offset; x < index.length; x++, at += 4) {
    const alpha = source[at + 3]! / 255
    const white = 255 * (1 - alpha)
    const to = index[x]! * 3
    const here = share[x]!
    for (let c = 0; c < 3; c++) {
      const value = source[at + c]! * alpha + white
      line[to + c]! += value * here
      line[to + 3 + c]! += value * (1 - here)
    }
  }
}
