/** Allow lists: keys, or addresses and networks, that aren't limited. */
import { BlockList, isIP } from 'node:net'
import type { FastifyRequest } from 'fastify'
import { plainAddress } from '../../shared/address-key.ts'
import { array, ensure, text } from '../../shared/options.ts'
import { guarded, type MaybePromise } from '../functions.ts'

/** Reports whether an address is on a list of addresses and networks. A listed IPv6 address doesn't exempt its prefix. */
export type AddressList = (ip: string | undefined) => boolean

/** Reports whether a policy exempts a key. For a policy by address, `ip` is the address itself, because the key may stand for a whole prefix. */
export type IsListed = (key: string, ip: string | undefined, request: FastifyRequest | undefined) => MaybePromise<boolean>

type ListFunction = (key: string, request: FastifyRequest | undefined) => MaybePromise<boolean>

/** Compiles a policy's allow list. Throws FC_ERR_OPTION_INVALID. */
export function resolveAllowList (
  option: string, list: readonly string[] | ListFunction | undefined, { limit, isByAddress }: { limit: string, isByAddress: boolean }
): IsListed | undefined {
  if (list === undefined) return undefined
  if (typeof list === 'function') {
    const isListed = guarded(limit, 'allowList', list)
    return (key, _ip, request) => isListed(key, request)
  }
  if (isByAddress) {
    const addresses = addressList(option, list)
    return (_key, ip) => addresses(ip)
  }
  return keySet(option, list)
}

/** Returns a function that reports whether a key is on the list. Throws FC_ERR_OPTION_INVALID. */
export function keySet (option: string, list: readonly string[]): (key: string) => boolean {
  const keys = new Set(strings(option, list))
  return (key) => keys.has(key)
}

function strings (option: string, list: readonly string[]): readonly string[] {
  return array(option, list).map((entry, index) => text(`${option}[${index}]`, entry))
}

/** Compiles a list of addresses, and of networks in CIDR notation. Throws FC_ERR_OPTION_INVALID for an entry that no address can match. */
export function addressList (option: string, list: readonly string[]): AddressList {
  const entries = new BlockList()
  for (const [index, entry] of strings(option, list).entries()) {
    const [address = '', bits, ...rest] = entry.split('/')
    const ip = plainAddress(address)
    const family = isIP(ip) === 6 ? 'ipv6' : 'ipv4'
    const isNetwork = bits !== undefined && /^\d{1,3}$/.test(bits) && Number(bits) <= (family === 'ipv6' ? 128 : 32)
    const isValid = isIP(ip) !== 0 && rest.length === 0 && (bits === undefined || isNetwork)
    ensure(isValid, `${option}[${index}]`, 'an address, or a network like \'10.0.0.0/8\'', entry)
    if (bits === undefined) entries.addAddress(ip, family)
    else entries.addSubnet(ip, Number(bits), family)
  }
  return (address = '') => {
    const ip = plainAddress(address)
    const version = isIP(ip)
    return version !== 0 && entries.check(ip, version === 6 ? 'ipv6' : 'ipv4')
  }
}
