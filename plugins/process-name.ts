import { hostname } from 'node:os'

/** Names this process for operators: its machine or container, and its process id. It is without spaces and slashes. */
export const processName = `${hostname().replaceAll(/[^\w.-]/g, '_')}:${process.pid}`
