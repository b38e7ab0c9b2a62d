import t from 'tap'
import { addressKey } from '../../plugins/shared/address-key.ts'

t.test('the addresses of one IPv6 prefix of 64 bits are one client, however they are written', async (t) => {
  for (const ip of ['2001:db8:1:2::1', '2001:db8:1:2:3:4:5:6', '2001:db8:1:2::', '2001:db8:1:2::1%eth0']) t.equal(addressKey(ip), '2001:db8:1:2::/64')
  t.equal(addressKey('2001:db8::1'), addressKey('2001:db8:0:0:9::'))
  t.equal(addressKey('::1'), '0:0:0:0::/64')
  t.not(addressKey('2001:db8:1:3::1'), addressKey('2001:db8:1:2::1'))
})

t.test('the prefix may have any length', async (t) => {
  for (const [ip, bits, key] of [
    ['2001:db8:abcd:1234:5678::1', 48, '2001:db8:abcd::/48'],
    ['2001:db8:abcd:1234:5678::1', 56, '2001:db8:abcd:1200::/56'],
    ['2001:db8:abcd:1234:5678::1', 1, '0::/1'],
    ['8001:db8::', 1, '8000::/1'],
    ['2001:DB8::000A', 128, '2001:db8:0:0:0:0:0:a::/128']
  ] as const) t.equal(addressKey(ip, bits), key)
})

t.test('what may be written around an address is not part of the key, and what is no address is its own key', async (t) => {
  for (const ip of ['[2001:db8::1]', '[2001:db8::1]:443', '[2001:db8::1%eth0]:443']) t.equal(addressKey(ip), '2001:db8:0:0::/64')
  for (const ip of ['192.0.2.7:80', '[::ffff:192.0.2.7]:80', '::ffff:c000:207']) t.equal(addressKey(ip), '192.0.2.7')
  const long = `${'f'.repeat(200)}::1`
  for (const text of ['a:b', '::::', 'unknown', long]) t.equal(addressKey(text), text)
})

t.test('an IPv4 address is its own key, also when it is written as IPv6', async (t) => {
  t.equal(addressKey('192.0.2.7'), '192.0.2.7')
  t.equal(addressKey('::ffff:192.0.2.7'), '192.0.2.7')
  t.equal(addressKey(''), '')
})
