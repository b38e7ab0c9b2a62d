import type { FastifyInstance } from 'fastify'
import 'fastify-concurrency'
import './jobs.ts'
declare const app: FastifyInstance
import { transfer } from 'fastify-concurrency/jobs'

export default function blank ({ width, height }: { width: number, height: number }) {
  const pixels = new Uint8Array(width * height * 4)
  return transfer({ width, pixels }, [pixels.buffer])
}
export {}
