export function shrink (image: ArrayBuffer, width: number): Uint8Array<ArrayBuffer> { return new Uint8Array(image.slice(0, width)) }
