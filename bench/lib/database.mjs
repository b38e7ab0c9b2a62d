/** A database, in a process of its own: it answers each byte with a byte, after 20 ms. */
import { createServer } from 'node:net'

const LATENCY = 20

const server = createServer((socket) => {
  socket.setNoDelay()
  socket.on('error', () => {})
  socket.on('data', (chunk) => { setTimeout(() => { if (!socket.destroyed) socket.write(chunk) }, LATENCY) })
})
server.listen(0, '127.0.0.1', () => process.send?.(/** @type {import('node:net').AddressInfo} */ (server.address()).port))
process.on('disconnect', () => process.exit())
