import { describe } from './describe.mjs'

export let hits = 0
export const hit = () => ++hits
export default class {
  count = 0
  add () { return describe(++this.count) }
}
const internal = { at: 0 }
export { internal as 'string name', internal }
