/**
 * Returns a copy of the text that is no part of a longer one. V8 makes a substring of 13 characters or more a view of its parent, so a key
 * cut out of a header field of 16 kB, as an address is out of X-Forwarded-For, keeps all of the field as long as the key is kept.
 */
export function ownCopy (text: string): string {
  // Exact for any text, lone surrogates too, and one flat string; a copy by concatenation would again be a view.
  return text.length < 13 ? text : JSON.parse(JSON.stringify(text)) as string
}
