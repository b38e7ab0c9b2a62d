export * from './counters.mjs'
export { default as Counter } from './counters.mjs'
export { default as size } from './describe.mjs'
