import t from 'tap'
import { addressKey } from '../../plugins/shared/address-key.ts'

t.test('the addresses of one IPv6 prefix of 64 bits are one client, however they are written', async (t) => {
  for (const ip of ['2001:db8:1:2::1', '2001:db8:1:2:3:4:5:6', '2001:db8:1:2::', '2001:db8:1:2::1%eth0']) t.equal(addressKey(ip), '2001:db8:1:2::/64')
  t.equal(addressKey('2001:db8::1'), addressKey('2001:db8:0:0:9::'))
  t.equal(addressKey('::1'), '0:0:0:0::/64')
  t.not(addressKey('2001:db8:1:3::1'), addressKey('2001:db8:1:2::1'))
})

t.test('an IPv4 address is its own key, also when it is written as IPv6', async (t) => {
  t.equal(addressKey('192.0.2.7'), '192.0.2.7')
  t.equal(addressKey('::ffff:192.0.2.7'), '192.0.2.7')
  t.equal(addressKey(''), '')
})
