/**
 * `bytes` in an ArrayBuffer that holds nothing else, so that it can be transferred to another thread.
 * Node cuts small Buffers out of a slab that many share: to transfer such a slab would take the others' bytes away.
 */
export function owned (bytes: Uint8Array): ArrayBuffer {
  const { buffer, byteOffset, byteLength } = bytes
  const whole = buffer instanceof ArrayBuffer && byteOffset === 0 && byteLength === buffer.byteLength
  return whole ? buffer : new Uint8Array(bytes).buffer
}
