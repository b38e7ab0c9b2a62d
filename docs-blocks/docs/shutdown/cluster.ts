// cluster.ts
import cluster from 'node:cluster'

if (cluster.isPrimary) {
  let stopping = false
  for (let i = 0; i < 2; i++) cluster.fork()
  cluster.on('exit', () => { if (!stopping) cluster.fork() })   // a worker that has crashed is replaced
  process.on('SIGTERM', () => {
    stopping = true
    for (const worker of Object.values(cluster.workers ?? {})) worker?.process.kill('SIGTERM')
  })
  process.on('SIGINT', () => { stopping = true })               // Ctrl+C reaches the workers by itself
} else {
  await import('./app.ts')
}
