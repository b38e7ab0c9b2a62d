/** Stands for what the admission imports and the simulation never calls: Node's modules, and the library of coded errors. */
export const createHash = () => { throw new Error('keys of the simulation are short') }
export const createError = () => class extends Error {}
export const availableParallelism = () => 2
export const readFileSync = () => ''
export const inspect = String
export const types = {}
export const join = (...parts) => parts.join('/')
export const dirname = String
export const fileURLToPath = String
export const subscribe = () => {}
export const unsubscribe = () => {}
