// The example of the race detector: the racy route is caught, its fix is silent.
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const path = (file: string): string => fileURLToPath(new URL(file, import.meta.url))

t.test('npm run example:race', async (t) => {
  const { stdout, stderr } = await new Promise<{ stdout: string, stderr: string }>((resolve) => {
    execFile(process.execPath, ['--conditions=fastify-concurrency-source', '--import', path('../../loader/typescript.js'), path('../../example/race/main.ts')],
      (_error, stdout, stderr) => resolve({ stdout, stderr }))
  })
  t.match(stdout, /^racy: 10 of 10 sold, [1-9] left\nfixed: 10 of 10 sold, 0 left\n$/)
  t.equal(stderr.match(/WARNING: RACE/g)?.length, 1)
  t.match(stderr, /WARNING: RACE lost update on items\.get\(1\)[^]*example\/race\/items\.ts:\d+/)
})
