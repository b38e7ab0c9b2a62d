// Redis as it runs in production: a cluster of three masters, and TLS. It defines no test.
import { Cluster, type ClusterOptions, type Redis } from 'ioredis'
import type { Test } from 'tap'
import { makeCertificate } from '../../certificate.ts'
import { freePort, startRedis, type RedisServer } from '../../limiter/redis.ts'
import { eventually } from './processes.ts'

export interface RedisCluster {
  /** A client that is closed in teardown. */
  client (options?: Omit<ClusterOptions, 'redisOptions'>): Cluster
  readonly nodes: readonly RedisServer[]
  /** Returns the node that holds the keys of a task. */
  nodeOf (task: string): Promise<RedisServer>
}

const SLOTS = 16_384

/** Three masters without replicas. The slots of a node that ends are served by nobody, and those of the others are served on. */
export async function startCluster (t: Test): Promise<RedisCluster> {
  const nodes = await Promise.all(Array.from({ length: 3 }, async () => {
    const busPort = await freePort()
    const server = await startRedis(t, { persists: true, tcp: true, args: ['--bind', '127.0.0.1', '--cluster-enabled', 'yes', '--cluster-port', String(busPort), '--cluster-node-timeout', '1000', '--cluster-require-full-coverage', 'no'] })
    return { server, busPort, admin: server.client() }
  }))
  const [first] = nodes
  if (first === undefined) throw new Error('There is no node')
  const share = Math.ceil(SLOTS / nodes.length)
  for (const [index, { admin }] of nodes.entries()) {
    await admin.call('CLUSTER', 'ADDSLOTSRANGE', index * share, Math.min((index + 1) * share, SLOTS) - 1)
    await admin.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1)
  }
  for (const { server, busPort } of nodes.slice(1)) await first.admin.call('CLUSTER', 'MEET', '127.0.0.1', server.port, busPort)
  const knows = async (admin: Redis): Promise<boolean> => /cluster_state:ok[^]*cluster_slots_ok:16384[^]*cluster_known_nodes:3/.test(String(await admin.call('CLUSTER', 'INFO')))
  await eventually(async () => (await Promise.all(nodes.map(async ({ admin }) => knows(admin)))).every(Boolean), 'the nodes know each other')
  const clients: Cluster[] = []
  t.teardown(() => { for (const client of clients) client.disconnect() })
  return {
    nodes: nodes.map(({ server }) => server),
    client (options = {}) {
      const client = new Cluster(nodes.map(({ server }) => ({ host: '127.0.0.1', port: server.port })), options)
      client.on('error', () => {})
      clients.push(client)
      return client
    },
    async nodeOf (task) {
      const slot = Number(await first.admin.call('CLUSTER', 'KEYSLOT', `{${task}}`))
      return nodes[Math.floor(slot / share)]?.server as RedisServer
    }
  }
}

export interface Encrypted {
  port: number
  /** The path of the certificate, and its text. */
  path: string
  certificate: string
}

/** Lets a server listen with TLS, too, with a certificate that nobody has signed. Returns a reason to skip if that can't be. */
export async function encrypt (t: Test, server: RedisServer): Promise<Encrypted | string> {
  const admin = server.client()
  if ((await admin.config('GET', 'tls-port') as unknown[]).length === 0) return missing('This redis-server was built without TLS')
  const made = await makeCertificate(t)
  if (made === undefined) return missing('openssl was not found: install it to run this test')
  const { path, keyPath, certificate } = made
  const port = await freePort()
  await admin.call('CONFIG', 'SET', 'tls-cert-file', path, 'tls-key-file', keyPath, 'tls-ca-cert-file', path, 'tls-auth-clients', 'no', 'tls-port', port)
  return { port, path, certificate }
}

function missing (reason: string): string {
  if (process.env['FC_REQUIRE_ALL'] === '1') throw new Error(`${reason}, and FC_REQUIRE_ALL=1 forbids to skip`)
  return reason
}
