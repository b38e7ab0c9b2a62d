import t from 'tap'
import { availableCpus, cpuQuota } from '../../plugins/workers/cpus.ts'

const files = (contents: Record<string, string>) => (path: string): string | undefined => contents[path]

for (const [what, contents, quota] of [
  ['no cgroup at all', {}, Infinity],
  ['v2, no limit', { '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/cpu.max': 'max 100000\n' }, Infinity],
  ['v2, two CPUs', { '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/cpu.max': '200000 100000\n' }, 2],
  ['v2, half a CPU of a service', { '/proc/self/cgroup': '0::/system.slice/app.service\n', '/sys/fs/cgroup/system.slice/app.service/cpu.max': '50000 100000\n' }, 0.5],
  ['v2, the parent is tighter', {
    '/proc/self/cgroup': '0::/pod/app\n', '/sys/fs/cgroup/pod/cpu.max': '100000 100000\n', '/sys/fs/cgroup/pod/app/cpu.max': '400000 100000\n'
  }, 1],
  ['v1', { '/proc/self/cgroup': '3:cpu,cpuacct:/docker/x\n2:memory:/docker/x\n', '/sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us': '300000\n', '/sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us': '100000\n' }, 3],
  ['v1 in a container, whose own group is mounted as the root', { '/proc/self/cgroup': '3:cpu,cpuacct:/docker/x\n', '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '150000\n', '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n' }, 1.5],
  ['v1, no limit', { '/proc/self/cgroup': '3:cpu:/\n', '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '-1\n', '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n' }, Infinity],
  ['nonsense', { '/proc/self/cgroup': 'what', '/sys/fs/cgroup/cpu.max': 'ever' }, Infinity]
] as const) {
  t.test(`quota: ${what}`, async (t) => t.equal(cpuQuota(files(contents)), quota))
}

t.test('threads: the CPUs or the quota, whichever is less, rounded down, at least one', async (t) => {
  const limited = (quota: string) => files({ '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/cpu.max': quota })
  t.equal(availableCpus(limited('max 100000'), 8), 8)
  t.equal(availableCpus(limited('350000 100000'), 8), 3)
  t.equal(availableCpus(limited('50000 100000'), 8), 1)
  t.equal(availableCpus(limited('800000 100000'), 2), 2)
  t.ok(availableCpus() >= 1)
})
