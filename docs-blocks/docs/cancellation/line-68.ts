import type { FastifyInstance } from 'fastify'
import 'fastify-concurrency'
import './jobs.ts'
declare const app: FastifyInstance
app.get('/weather', async (request) => {
  const response = await fetch('https://api.example.com/weather', { signal: request.disconnected })
  return response.json()
})
export {}
