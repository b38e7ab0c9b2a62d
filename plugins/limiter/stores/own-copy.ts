/**
 * Returns a copy of the text that doesn't refer to a longer text. V8 makes a substring of 13 characters or more a view of its parent. So a
 * key that is cut out of a header field of 16 kB, as an address is cut out of X-Forwarded-For, would keep the whole field in memory.
 */
export function ownCopy (text: string): string {
  // The copy is exact for any text, lone surrogates included, and one flat string. A copy by concatenation would again be a view.
  return text.length < 13 ? text : JSON.parse(JSON.stringify(text)) as string
}
