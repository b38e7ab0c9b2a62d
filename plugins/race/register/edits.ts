/** A piece of text in place of another. None spans lines, so lines stay where they are. */
export interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

/** The edits of one source. They are made from the outside in: what is around another was made before it. */
export class Edits {
  readonly #opening: Edit[] = []
  readonly #closing: Edit[] = []

  insert (at: number, text: string): void {
    this.#opening.push({ start: at, end: at, text })
  }

  replace (start: number, end: number, text: string): void {
    this.#opening.push({ start, end, text })
  }

  /** Ends what was inserted or replaced before. */
  close (at: number, text: string): void {
    this.#closing.unshift({ start: at, end: at, text })
  }

  /** Returns them in the order of the source. Where one piece ends and another begins, the end comes first. */
  all (): Edit[] {
    return [...this.#closing, ...this.#opening].sort((a, b) => a.start - b.start || a.end - b.end)
  }
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
