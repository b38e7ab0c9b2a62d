/** n words have n! orders: a search for 5 words in 120 orders takes seconds, for 7 words in 5,040 it would take minutes. */
export const MAX_WORDS = 5

export const wordsOf = (text: string): string[] => text.trim().split(/\s+/)

/** Each order once, also where a word comes twice. */
export function ordersOf (words: string[]): string[] {
  if (words.length <= 1) return words
  const orders = words.flatMap((word, at) => ordersOf(words.toSpliced(at, 1)).map((rest) => `${word} ${rest}`))
  return [...new Set(orders)]
}
