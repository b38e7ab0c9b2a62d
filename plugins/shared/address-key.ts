/**
 * Returns the key of a client by its address: IPv6 by its /64 prefix, because one client has a whole prefix and would otherwise take a
 * share for each of its addresses; IPv4 written as IPv6 as IPv4.
 */
export function addressKey (ip: string): string {
  if (!ip.includes(':')) return ip
  if (ip.includes('.')) return ip.slice(ip.lastIndexOf(':') + 1)
  const [address = ''] = ip.split('%', 1)
  const [head = '', tail] = address.split('::', 2)
  const groups = head === '' ? [] : head.split(':')
  if (tail !== undefined) {
    const last = tail === '' ? [] : tail.split(':')
    while (groups.length + last.length < 8) groups.push('0')
    groups.push(...last)
  }
  return `${groups.slice(0, 4).join(':')}::/64`
}
