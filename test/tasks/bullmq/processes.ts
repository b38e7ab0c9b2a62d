// Processes that share stored tasks: how tests start, ask and end them, and read what they wrote down.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { build } from 'esbuild'
import type { Redis } from 'ioredis'
import type { Test } from 'tap'
import type { Order, TaskProcessOptions } from '../../fixtures/task-process.ts'
import { root } from '../../compiler.ts'

export interface TaskProcess {
  readonly pid: number
  ask<Answer> (order: Order): Promise<Answer>
  /** Ends it like a crash. */
  kill (): Promise<void>
  /** Asks it to shut down. Resolves to its exit code. */
  terminate (): Promise<number | null>
  /** Resolves when it has ended. */
  readonly exited: Promise<number | null>
}

/** What CommonJS packages within an ES module need, by names that no package uses. */
const COMMONJS = `
import * as bannerModule from 'node:module'
const require = bannerModule.createRequire(import.meta.url)
const { filename: __filename, dirname: __dirname } = import.meta
`

/**
 * The fixture and its packages as one file of JavaScript. These tests start dozens of processes, and to start one takes half of the CPU time that it
 * takes with packages from their own files.
 */
let built: Promise<string> | undefined

async function buildFixture (): Promise<string> {
  // Below the root, so that packages are found.
  const outfile = join(root, '.tap', 'fixtures', `task-process-${process.pid}.mjs`)
  await build({
    entryPoints: [join(root, 'test/fixtures/task-process.ts')],
    outfile,
    bundle: true,
    banner: { js: COMMONJS },
    format: 'esm',
    platform: 'node',
    target: 'node20',
    conditions: ['fastify-concurrency-source'],
    logLevel: 'error'
  })
  process.once('exit', () => rmSync(outfile, { force: true }))
  return outfile
}

/** Starts a process. Resolves when its app is ready. */
export async function startProcess (t: Test, options: TaskProcessOptions, env: NodeJS.ProcessEnv = {}): Promise<TaskProcess> {
  built ??= buildFixture()
  const child = fork(await built, [JSON.stringify(options)], { execArgv: [], env: { ...process.env, ...env }, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  t.teardown(() => child.kill('SIGKILL'))
  const exited = once(child, 'exit').then(([code]) => code as number | null)
  await Promise.race([once(child, 'message'), exited.then((code) => { throw new Error(`The process has ended with ${code} before it was ready`) })])
  return {
    pid: child.pid as number,
    exited,
    async ask (order) {
      const answer = once(child, 'message')
      child.send(order)
      return (await answer)[0] as never
    },
    async kill () {
      child.kill('SIGKILL')
      await exited
    },
    async terminate () {
      child.kill('SIGTERM')
      return await exited
    }
  }
}

/** Resolves when `holds` does. What processes write down can only be asked for. */
export async function eventually (holds: () => Promise<boolean>, what: string, ms = 20_000): Promise<void> {
  const end = performance.now() + ms
  while (!await holds()) {
    if (performance.now() > end) throw new Error(`Not within ${ms} ms: ${what}`)
    await sleep(10)
  }
}

/** What tasks have written down: for each number, the processes that did its work. */
export async function recorded (redis: Redis, list: string): Promise<Map<string, string[]>> {
  const by = new Map<string, string[]>()
  for (const entry of await redis.lrange(list, 0, -1)) {
    const [what = '', pid = ''] = entry.split(' ')
    by.set(what, [...by.get(what) ?? [], pid])
  }
  return by
}
