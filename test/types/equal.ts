/** True only if the two are the same type: `any` equals nothing but itself. */
export type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false

/** Compiles only for `true`. */
export function holds<Claim extends true> (..._claims: Claim[]): void {}
