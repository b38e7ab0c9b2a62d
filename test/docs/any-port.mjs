// A preload for the services of the docs: what they do on port 3000 is done on any free port, which the parent process is told.
import cluster from 'node:cluster'
import { Server } from 'node:net'
import { isMainThread } from 'node:worker_threads'

const { listen } = Server.prototype

if (isMainThread) {
  // A worker of a cluster tells its primary.
  cluster.on('message', (_worker, message) => process.send?.(message))
  Server.prototype.listen = function (options, ...rest) {
    this.once('listening', () => process.send?.({ port: this.address().port }))
    return listen.call(this, options?.port === 3000 ? { ...options, port: 0 } : options, ...rest)
  }
}
