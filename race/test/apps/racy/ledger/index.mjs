export { default as Ledger, balance, setBalance } from './state.mjs'
export * as state from './state.mjs'
