/** Why a value can't cross the thread boundary: where in it the part is that structured clone refuses. */

/** A value may be large: past this many parts the search gives up, the error is then less precise but not late. */
const MAX_PARTS = 10_000

function clones (value: unknown): boolean {
  try {
    structuredClone(value)
    return true
  } catch {
    return false
  }
}

/** The path of the first part that can't be cloned, such as `payload.items[3].onDone`; or that the fault is the transferList's. */
export function uncloneablePath (value: unknown, root: string, transferList: readonly unknown[] = []): string {
  let parts = 0
  const seen = new Set<object>()
  const moved = new Set(transferList)

  const search = (part: unknown, path: string): string | undefined => {
    if (++parts > MAX_PARTS || moved.has(part) || clones(part)) return undefined
    if (typeof part !== 'object' || part === null) return path
    if (seen.has(part)) return undefined
    seen.add(part)
    let movedInside = false
    for (const [key, child] of children(part)) {
      const found = search(child, path + key)
      if (found !== undefined) return found
      movedInside ||= moved.has(child)
    }
    return movedInside ? undefined : path
  }
  try {
    return search(value, root) ?? (moved.size > 0 ? 'the transferList' : root)
  } catch {
    return root // a hostile getter or proxy
  }
}

function children (part: object): Iterable<[string, unknown]> {
  if (Array.isArray(part)) return part.map((child, index) => [`[${index}]`, child])
  if (part instanceof Map) return [...part].flatMap(([key, child]) => [['.keys()', key], [`.get(${label(key)})`, child]] as Array<[string, unknown]>)
  if (part instanceof Set) return [...part].map((child) => ['.values()', child])
  return Object.entries(part).map(([key, child]) => [/^[\w$]+$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`, child])
}

function label (key: unknown): string {
  return typeof key === 'string' ? JSON.stringify(key) : typeof key === 'number' ? String(key) : '…'
}
