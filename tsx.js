// A preload that runs TypeScript sources in this process and in its worker threads: `node --import ./tsx.js`.
// tsx's own command doesn't reach ESM worker threads on Node 20 ("Unknown file extension .ts"); register() does.
import { register } from 'tsx/esm/api'

register()
