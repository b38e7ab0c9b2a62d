// A service with the dashboard in a process of its own, which a test freezes. It says its port.
import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'

const app = Fastify()
await app.register(concurrency, { workers: false, dashboard: {} })
await app.listen({ port: 0, host: '127.0.0.1' })
console.log((app.server.address() as AddressInfo).port)
