import { hash } from '../passwords/scrypt.ts'

/**
 * crypto.scrypt() would leave the event loop alone too, but it queues without a bound in libuv's four threads, which file
 * reads and DNS lookups share: a storm of logins would stall those. Here it is bounded.
 */
export default function password ({ password }: { password: string }): string {
  return hash(password)
}
