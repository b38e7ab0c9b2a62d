/** A piece of text in place of another. It has the line breaks of what it replaces, so lines stay where they are. */
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
    if (after !== undefined) this.#closing.push({ start: after.end, end: after.end, text: after.text, from })
  }

  /**
   * Returns them in the order of the source. Where one piece ends and another begins, the end comes first.
   *
   * @throws Error if two replace the same piece
   */
  all (source: string): Edit[] {
    const closing = this.#closing.reverse().sort((a, b) => b.from - a.from)
    const opening = this.#opening.sort((a, b) => a.from - b.from || b.to - a.to)
    const edits: Edit[] = []
    let [at, before] = [0, '']
    for (const { start, end, text } of [...closing, ...opening].sort((a, b) => a.start - b.start || a.end - b.end)) {
      if (start < at) throw new Error(`two changes of one piece of it: ${source.slice(start, end)}`)
      if (start > at) before = source.slice(Math.max(at, start - 2), start)
      const edit = { start, end, text: `${joins(before, text) ? ' ' : ''}${text}${'\n'.repeat(linesOf(source.slice(start, end)))}` }
      edits.push(edit)
      if (edit.text !== '') before = edit.text.slice(-2)
      at = end
    }
    return edits
  }
}

/** Whether the last token of one text and the first of another would become one: `return` and `$$race` of `return++n`, `!` and `=` of `n!+=1`. */
function joins (before: string, text: string): boolean {
  return (/[$\u200c\u200d\p{ID_Continue}]$/u.test(before) && /^[$\p{ID_Continue}]/u.test(text)) || (/[-!%&*+/<=>?^|~]$/.test(before) && /^[-!%&*+/<=>?^|~]/.test(text))
}

function linesOf (text: string): number {
  return text.split('\n').length - 1
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
