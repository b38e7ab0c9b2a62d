// before
import { Piscina } from 'piscina'

const piscina = new Piscina({ filename: new URL('./worker.ts', import.meta.url).href, maxThreads: 4 })
const sum = await piscina.run({ a: 4, b: 6 }, { signal: AbortSignal.timeout(1_000) })
