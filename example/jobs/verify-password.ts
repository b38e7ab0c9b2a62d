import { verify } from '../passwords/scrypt.ts'

/** Whether `hash` was made from `password`. */
export default function verifyPassword ({ password, hash }: { password: string, hash: string }): boolean {
  return verify(password, hash)
}
