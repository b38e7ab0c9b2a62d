/**
 * A seeded generator (Mulberry32), so that every server gets the same arrivals.
 *
 * @param {number} seed
 * @returns {() => number} uniform in [0, 1)
 */
export function random (seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6D2B79F5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

/**
 * Draws each card independently, because real requests don't depend on those before them. With dealt cards, short requests would follow a long one
 * just while the server is busy with it and refuses: measured, the server then serves 15 % fewer requests.
 *
 * @template T
 * @param {readonly T[]} cards
 * @param {() => number} rng
 * @returns {() => T}
 */
export function drawer (cards, rng) {
  return () => /** @type {T} */ (cards[Math.floor(rng() * cards.length)])
}

/**
 * Deals the cards in random order and repeats none before all have been dealt, so that 5 in 100 are exactly 5 in 100 even in a short run.
 *
 * @template T
 * @param {readonly T[]} cards
 * @param {() => number} rng
 * @returns {() => T}
 */
export function dealer (cards, rng) {
  /** @type {T[]} */
  let left = []
  return () => {
    if (left.length === 0) left = [...cards]
    return /** @type {T} */ (left.splice(Math.floor(rng() * left.length), 1)[0])
  }
}
