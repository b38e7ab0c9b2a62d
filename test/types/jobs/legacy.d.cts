// What a CommonJS project that writes `export default` compiles to.
export default function legacy (payload: { pages: number }): string[]
