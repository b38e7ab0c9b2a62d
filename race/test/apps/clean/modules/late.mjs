export const flags = {}
export { flags as default }
