import { randomBytes, scryptSync, timingSafeEqual } from 'node:crypto'

/** 32 MiB and about 80 ms a hash: what makes guessing dear. */
const cost = { N: 2 ** 15, r: 8, p: 1, maxmem: 64 * 1024 * 1024 }
const SALT_BYTES = 16
const KEY_BYTES = 32

/** A hash in the PHC string format. The parameters are ours: nobody can have us verify one that takes an hour. */
export const HASH = '^\\$scrypt\\$ln=15,r=8,p=1\\$[A-Za-z0-9+/]{22}\\$[A-Za-z0-9+/]{43}$'

const derive = (password: string, salt: Buffer): Buffer => scryptSync(password.normalize('NFKC'), salt, KEY_BYTES, cost)

/** PHC strings leave the padding out. */
const base64 = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '')

/** Hashes with a salt of its own. */
export function hash (password: string): string {
  const salt = randomBytes(SALT_BYTES)
  return `$scrypt$ln=15,r=8,p=1$${base64(salt)}$${base64(derive(password, salt))}`
}

/** @param hash as {@link hash} made it */
export function verify (password: string, hash: string): boolean {
  const [salt = '', key = ''] = hash.split('$').slice(-2)
  return timingSafeEqual(derive(password, Buffer.from(salt, 'base64')), Buffer.from(key, 'base64'))
}
