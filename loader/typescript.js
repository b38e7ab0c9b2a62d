// A preload that runs TypeScript in this process and in its worker threads: `node --import ./loader/typescript.js`.
import module from 'node:module'
import { load } from './hooks.js'

// Hooks in the same thread, where Node has them: the others cost a thread for each thread.
if (module.registerHooks !== undefined) module.registerHooks({ load })
else module.register('./hooks.js', import.meta.url)
process.setSourceMapsEnabled(true)
