// The rule by itself: what it says of a write, given what was read and written before. Two parties, mine and theirs, use one location.
import t from 'tap'
import { effectOf, judge, type Dependence, type NextWrite, type RuleInput } from '../src/rule.ts'
import type { Location, Party, Read, Write } from '../src/shadow.ts'

const mine: Party = { name: 'mine', owner: {} }
const theirs: Party = { name: 'theirs', owner: {} }
const siteOf = (key: string): Read['site'] => ({ key }) as never

/** Read in turn 1, when the version was 0. */
const read = (fields: Partial<Read> = {}): Read => ({ kind: 'value', version: 0, turn: 1, order: 0, site: siteOf('a'), value: 1, snapshot: undefined, ...fields })

/** Written by them in turn 2, which made version 1. */
const write = (fields: Partial<Write> = {}): Write =>
  ({ kind: 'set', version: 1, turn: 2, site: siteOf('w'), party: theirs, isBlind: false, value: 2, before: 1, effect: 'other', locks: [], ...fields })

interface Story extends Partial<Omit<RuleInput, 'location' | 'access' | 'next' | 'dependence'>> {
  reads?: readonly Read[]
  writes?: readonly Write[]
  next?: Partial<NextWrite>
  location?: Partial<Location>
  dependence?: Dependence | ((read: Read) => Dependence)
}

/** Says what the rule finds: its kind, with a question mark if the race is only possible; undefined if nothing. */
function found ({ reads = [read()], writes = [write()], next = {}, location = {}, dependence = 'data', ...rest }: Story = {}): string | undefined {
  const no = (): boolean => false
  const verdict = judge({
    location: { name: 'x', isLww: false, version: writes.at(-1)?.version ?? 0, writes: [...writes], ...location },
    access: { reads: [...reads] },
    party: mine,
    turn: 3,
    next: { kind: 'set', value: 2, before: 2, had: true, ...next },
    dependence: typeof dependence === 'function' ? dependence : () => dependence,
    hasReserved: no,
    hasWaited: no,
    isSame: no,
    isClaim: no,
    isComputed: no,
    isHandedOn: no,
    isOfPresence: no,
    isCompared: no,
    isRechecked: no,
    ...rest
  })
  return verdict && `${verdict.kind}${verdict.isConfirmed ? '' : '?'}`
}

t.test('a write that rests on what another has changed since', async (t) => {
  t.equal(found(), 'lost update')
  t.equal(found({ dependence: 'both' }), 'lost update')
  t.equal(found({ dependence: 'control' }), 'check then act')
  t.equal(found({ dependence: 'independent' }), undefined)
  t.equal(found({ dependence: 'unknown' }), 'stale write?')
})

t.test('nobody else has written since the read', async (t) => {
  t.equal(found({ writes: [] }), undefined)
  t.equal(found({ writes: [write({ party: mine })] }), undefined)
  t.equal(found({ reads: [read({ version: 1 })] }), undefined)
  t.equal(found({ reads: [read({ turn: 3 })] }), undefined, 'a read of the same turn')
  t.equal(found({ reads: [] }), undefined)
  t.equal(found({ location: { isLww: true } }), undefined, 'the last writer may win')
})

t.test('a fresh read governs the write', async (t) => {
  const fresh = (fields: Partial<Read> = {}): Read => read({ version: 1, turn: 3, site: siteOf('b'), ...fields })
  const by = (stale: Dependence, again: Dependence) => ({ site }: Read): Dependence => site.key === 'b' ? again : stale
  t.equal(found({ reads: [read(), fresh()], dependence: by('data', 'data') }), undefined)
  t.equal(found({ reads: [read(), fresh()], dependence: by('data', 'control') }), undefined)
  t.equal(found({ reads: [read(), fresh()], dependence: by('data', 'both') }), undefined)
  t.equal(found({ reads: [read(), fresh()], dependence: by('data', 'independent') }), 'lost update')
  t.equal(found({ reads: [read(), fresh()], dependence: by('control', 'data') }), 'check then act', 'fresh data under a stale test')
  t.equal(found({ reads: [read(), fresh()], dependence: by('control', 'control') }), undefined)
  const byVersion = ({ version }: Read): Dependence => version === 0 ? 'data' : 'independent'
  t.equal(found({ reads: [read(), fresh({ site: siteOf('a') })], dependence: byVersion }), undefined, 'a retry loop reads by the same code')
  t.equal(found({ reads: [read(), fresh()], dependence: byVersion }), 'lost update')
  t.equal(found({ reads: [read(), fresh({ version: 1 })], writes: [write(), write({ version: 2 })], dependence: by('data', 'data') }), 'lost update', 'it is stale itself')
})

t.test('what was read is so again', async (t) => {
  t.equal(found({ next: { before: 1 } }), undefined)
  t.equal(found({ reads: [read({ kind: 'has', value: true })], next: { before: 5, had: true } }), undefined)
  t.equal(found({ reads: [read({ kind: 'has', value: true })], next: { before: 5, had: false } }), 'lost update')
  const size = { reads: [read({ kind: 'size', value: 1 })], writes: [write({ kind: 'shift' })] }
  t.equal(found({ ...size, next: { kind: 'add', before: 1 } }), undefined)
  t.equal(found({ ...size, next: { kind: 'add', before: 2 } }), 'lost update')
  t.equal(found({ ...size, reads: [read({ kind: 'walk', value: 'x' })], next: { kind: 'add', before: 'x' } }), 'lost update', 'a whole is alike only by its number')
})

t.test('what is added to a whole disturbs who adds, and who empties it', async (t) => {
  const size = { reads: [read({ kind: 'size', value: 0 })], writes: [write({ kind: 'add' })] }
  t.equal(found({ ...size, next: { kind: 'add', before: 1 } }), 'lost update')
  t.equal(found({ ...size, next: { kind: 'clear', before: 1 } }), 'lost update')
  t.equal(found({ ...size, next: { kind: 'shift', before: 1, isEmptied: true } }), 'lost update')
  t.equal(found({ ...size, next: { kind: 'shift', before: 1 } }), undefined)
  t.equal(found({ ...size, next: { kind: 'set', before: 1 } }), undefined)
  t.equal(found({ ...size, writes: [write({ kind: 'shift' })], next: { kind: 'shift', before: 1 } }), 'lost update')
  t.equal(found({ ...size, writes: [write({ kind: 'set' })], next: { kind: 'add', before: 1 } }), undefined)
})

t.test('what is gone can\'t be deleted once more, unless that is a claim', async (t) => {
  const gone = { reads: [read({ value: 'token' })], next: { kind: 'delete', had: false, before: undefined } } as const
  t.equal(found(gone), undefined)
  t.equal(found({ ...gone, isClaim: () => true }), 'lost update')
  t.equal(found({ ...gone, next: { ...gone.next, had: true } }), 'lost update')
})

t.test('what excuses a check then act, and no lost update', async (t) => {
  for (const name of ['hasReserved', 'isCompared', 'hasWaited'] as const) {
    t.equal(found({ dependence: 'control', [name]: () => true }), undefined, name)
    t.equal(found({ dependence: 'data', [name]: () => true }), 'lost update', name)
  }
  const claimed = [write({ party: mine, version: 1, turn: 1 }), write({ version: 2 })]
  t.equal(found({ dependence: 'control', writes: claimed }), undefined, 'it has acted in the turn of the test')
  t.equal(found({ dependence: 'control', writes: [write({ party: mine, version: 1, turn: 2 }), write({ version: 2 })] }), 'check then act')
  t.equal(found({ dependence: 'control', reads: [read({ version: 1 })], writes: [write({ party: mine, turn: 1 }), write({ version: 2 })] }), 'check then act')
})

t.test('equal fills, unless they claim something', async (t) => {
  const same = { dependence: 'control', isSame: () => true } as const
  t.equal(found(same), undefined)
  t.equal(found({ ...same, isClaim: () => true }), 'check then act')
  t.equal(found({ ...same, next: { had: false } }), 'check then act', 'nothing is there')
  t.equal(found({ ...same, dependence: 'data' }), 'lost update', 'counters are equal because of the race')
  t.equal(found({ ...same, next: { kind: 'add', before: 2 } }), 'check then act')
})

t.test('a test of presence, while something is there', async (t) => {
  const presence = { dependence: 'control', isOfPresence: () => true, reads: [read({ value: { a: 1 } })] } as const
  t.equal(found({ ...presence, next: { before: { a: 2 } } }), undefined)
  t.equal(found({ ...presence, next: { before: null } }), 'check then act')
  t.equal(found({ ...presence, next: { before: { a: 2 } }, reads: [read({ value: null })] }), 'check then act')
  t.equal(found({ ...presence, next: { before: { a: 2 } }, isOfPresence: () => false }), 'check then act')
})

t.test('a fill of what was declared invalid while it was made', async (t) => {
  const fill = { dependence: 'control', reads: [read({ value: undefined })], writes: [write({ kind: 'delete', effect: 'empties', value: undefined, before: undefined })], next: { value: { sum: 1 }, before: undefined, had: false } } as const
  t.equal(found(fill), 'check then act')
  t.equal(found({ ...fill, isRechecked: () => true }), undefined)
  t.equal(found({ ...fill, dependence: 'data' }), undefined)
  t.equal(found({ ...fill, reads: [read({ value: 'x' })], next: { ...fill.next, before: 'x' } }), undefined, 'something was there')
  t.equal(found({ ...fill, writes: [write({ kind: 'delete', effect: 'empties', before: { sum: 1 } })] }), undefined, 'an eviction')
  t.equal(found({ ...fill, writes: [write({ kind: 'delete', effect: 'other', before: undefined })] }), undefined)
  t.equal(found({ ...fill, writes: [write({ version: 1, effect: 'other' }), write({ version: 2, effect: 'empties', before: undefined })] }), undefined, 'who has put it there takes it away')
  t.equal(found({ ...fill, next: { ...fill.next, value: true } }), undefined, 'a mark')
  t.equal(found({ ...fill, next: { ...fill.next, value: 5 } }), undefined, 'a number of the source')
  for (const value of [5, 'text']) t.equal(found({ ...fill, next: { ...fill.next, value }, isComputed: () => true }), 'check then act')
  for (const value of [null, false] as const) t.equal(found({ ...fill, reads: [read({ value })], next: { ...fill.next, before: value } }), 'check then act')
  t.equal(found({ ...fill, next: { ...fill.next, kind: 'delete' } }), undefined)
})

t.test('a batch that was sent, and taken out with what has come since', async (t) => {
  const batch = { dependence: 'independent', reads: [read({ kind: 'walk', value: 1 })], writes: [write({ kind: 'add', effect: 'adds' })], next: { kind: 'clear', before: 2 }, isHandedOn: () => true } as const
  t.equal(found(batch), 'lost update')
  t.equal(found({ ...batch, dependence: 'unknown' }), 'lost update')
  t.equal(found({ ...batch, isHandedOn: () => false }), undefined)
  t.equal(found({ ...batch, next: { kind: 'shift', before: 2 } }), undefined, 'something is left')
  t.equal(found({ ...batch, writes: [write({ kind: 'shift', effect: 'other' })] }), undefined, 'nothing has come')
  t.equal(found({ ...batch, reads: [...batch.reads, read({ kind: 'walk', value: 2, version: 1, turn: 3, site: siteOf('b') })] }), undefined, 'it was looked at again')
  t.equal(found({ ...batch, reads: [read({ kind: 'has', value: false })], next: { kind: 'delete', had: true } }), undefined)
})

t.test('fields that are put back as they were read are a confirmed stale write', async (t) => {
  const snapshot = { hits: 1, name: 'a' }
  const back = { dependence: 'unknown', reads: [read({ value: {}, snapshot })], next: { value: { hits: 1, name: 'b' }, before: { hits: 2, name: 'a' } } } as const
  t.equal(found(back), 'stale write')
  t.equal(found({ ...back, next: { ...back.next, value: { hits: 3 } } }), 'stale write?')
  t.equal(found({ ...back, next: { ...back.next, before: { hits: 1, name: 'a' } } }), 'stale write?', 'nobody has changed the field')
  t.equal(found({ ...back, next: { value: 1, before: { hits: 2 } } }), 'stale write?')
  const link = { hits: 1 }
  t.equal(found({ ...back, reads: [read({ value: link, snapshot })], next: { value: link, before: { hits: 2 } } }), 'stale write?', 'the very object that was read')
  const text = (fields: object): string => JSON.stringify(fields)
  t.equal(found({ ...back, reads: [read({ value: text(snapshot) })], next: { value: text({ hits: 1, name: 'b' }), before: text({ hits: 2, name: 'a' }) } }), 'stale write')
  t.equal(found({ ...back, reads: [read({ value: 'text' })], next: { value: 'text 2', before: 'other' } }), 'stale write?')
  class Node { at = 1 }
  t.equal(found({ ...back, reads: [read({ value: {}, snapshot: { next: new Node() } })], next: { value: { next: new Node() }, before: { next: null } } }), 'stale write?', 'an instance has an identity')
})

t.test('what a write does to what was there', async (t) => {
  const effect = (next: Partial<NextWrite>): string => effectOf({ kind: 'set', value: 1, before: undefined, had: true, ...next })
  for (const value of [undefined, null, 0, '', false, [], {}, new Map(), new Set()]) t.equal(effect({ value }), 'empties')
  for (const value of [[1], { a: 1 }, new Map([[1, 1]]), new Set([1]), 'a', true, new Date()]) t.equal(effect({ value }), 'other')
  t.equal(effect({ value: 2, before: 1 }), 'adds')
  t.equal(effect({ value: 2, before: 2 }), 'other')
  t.equal(effect({ value: 2, before: '1' }), 'other')
  t.equal(effect({ kind: 'add' }), 'adds')
  t.equal(effect({ kind: 'add', isEmptied: true }), 'empties')
  t.equal(effect({ kind: 'shift' }), 'other')
  t.equal(effect({ kind: 'shift', isEmptied: true }), 'empties')
  for (const kind of ['delete', 'clear'] as const) t.equal(effect({ kind }), 'empties')
})
