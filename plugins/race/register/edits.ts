/** A piece of text in place of another. None spans lines, so lines stay where they are. */
export interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

/** An edit, and where in the source the expression begins that it is a part of. */
interface Placed extends Edit {
  readonly from: number
}

/** The edits of one source, which may be made in any order: those around an expression nest by where the expressions begin and end. */
export class Edits {
  readonly #opening: Array<Placed & { readonly to: number }> = []
  readonly #closing: Placed[] = []

  /** Puts statements before a statement. */
  insert (at: number, text: string): void {
    this.#opening.push({ start: at, end: at, text, from: -1, to: Infinity })
  }

  /** Puts text around a piece of the source. @param from where the expression begins, if not with the piece: an assignment, of its right side */
  around (start: number, end: number, before: string, after: string, from = start): void {
    this.replace(start, start, before, { end, text: after, from })
  }

  /** Replaces a piece of the source, and puts text behind the end of what follows the piece. */
  replace (start: number, end: number, text: string, after?: { end: number, text: string, from?: number }): void {
    const from = after?.from ?? start
    this.#opening.push({ start, end, text, from, to: after?.end ?? end })
    if (after !== undefined) this.#closing.unshift({ start: after.end, end: after.end, text: after.text, from })
  }

  /** Returns them in the order of the source. Where one piece ends and another begins, the end comes first. */
  all (): Edit[] {
    const closing = this.#closing.sort((a, b) => b.from - a.from)
    const opening = this.#opening.sort((a, b) => a.from - b.from || b.to - a.to)
    return [...closing, ...opening].sort((a, b) => a.start - b.start || a.end - b.end)
  }
}

const WORD = /[\w$]/

/** Puts a space where an edit would run into a keyword or a name beside it: `return++n` has none. */
export function apart (edits: readonly Edit[], source: string): Edit[] {
  let last = ''
  return edits.map((edit, index) => {
    const previous = edits[index - 1]
    const before = previous !== undefined && previous.end === edit.start ? last : source[edit.start - 1] ?? ''
    const next = edits[index + 1]
    const after = next !== undefined && next.start === edit.end ? '' : source[edit.end] ?? ''
    let { text } = edit
    if (WORD.test(before) && WORD.test(text.at(0) ?? '')) text = ` ${text}`
    if (WORD.test(after) && WORD.test(text.at(-1) ?? '')) text += ' '
    last = text.at(-1) ?? before
    return { ...edit, text }
  })
}

export function applied (edits: readonly Edit[], source: string): string {
  let text = ''
  let at = 0
  for (const edit of edits) {
    text += source.slice(at, edit.start) + edit.text
    at = edit.end
  }
  return text + source.slice(at)
}
