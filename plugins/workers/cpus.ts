/**
 * Counts the CPUs that this process may use. `os.availableParallelism()` knows the affinity mask, but on Node 20 not
 * the CPU quota of a container: 64 threads on a quota of 2 CPUs are throttled together, and the event loop with them.
 */
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'

/** A file's text, or undefined if it can't be read. */
export type ReadText = (path: string) => string | undefined

const ROOT = '/sys/fs/cgroup'

function readText (path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

function quotient (quota: string | undefined, period: string | undefined): number {
  const cpus = Number(quota) / Number(period)
  return cpus > 0 ? cpus : Infinity // "max", "-1", absent
}

/** Returns the smallest quota from the process's own cgroup up to the root: a parent's bound holds for its children. */
function smallest (path: string, quotaOf: (folder: string) => number, root: string): number {
  let least = Infinity
  for (let folder = join(root, path); folder.startsWith(root); folder = dirname(folder)) {
    least = Math.min(least,
      quotaOf(folder))
  }
  return least
}

/** Returns the CPU quota in CPUs, of cgroup v2 or v1; Infinity if there is none. */
export function cpuQuota (read: ReadText = readText): number {
  let quota = Infinity
  for (const line of (read('/proc/self/cgroup') ?? '0::/').split('\n')) {
    const [, controllers = '', path = ''] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    if (path === '') continue
    if (controllers === '') {
      quota = Math.min(quota, smallest(path, (folder) => {
        const [limit, period] = (read(join(folder, 'cpu.max')) ?? '').trim().split(' ')
        return quotient(limit, period)
      }, ROOT))
    } else if (controllers.split(',').includes('cpu')) {
      quota = Math.min(quota,
        smallest(path,
          (folder) => quotient(read(join(folder, 'cpu.cfs_quota_us')), read(join(folder, 'cpu.cfs_period_us'))),
          join(ROOT, 'cpu')))
    }
  }
  return quota
}

/**
 * Returns the CPUs to use, at least 1. A fraction is rounded down: the event loop needs the rest, and a throttled
 * thread throttles it.
 */
export function availableCpus (read: ReadText = readText, parallelism: number = availableParallelism()): number {
  return Math.max(1, Math.min(parallelism, Math.floor(cpuQuota(read))))
}
