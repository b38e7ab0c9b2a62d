export type Format = 'jpeg' | 'png'

const signatures: Record<Format, readonly number[]> = {
  jpeg: [0xFF, 0xD8, 0xFF],
  png: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
}

/** What the first bytes say. The content type is only the client's opinion. */
export function formatOf (bytes: Uint8Array): Format | undefined {
  return (Object.keys(signatures) as Format[]).find((format) => signatures[format].every((byte, at) => bytes[at] === byte))
}
