import t from 'tap'
import fc from 'fast-check'
import { FairQueue, type Keyed } from '../../../plugins/tasks/queue/fair-queue.ts'
import type { List } from '../../../plugins/shared/collections/list.ts'

class Member implements Keyed<Member> {
  list: List<Member> | undefined
  previous: Member | undefined
  next: Member | undefined
  readonly key: string
  readonly number: number

  constructor (key: string, number: number) {
    this.key = key
    this.number = number
  }
}

t.test('a key with a thousand members delays another key\'s first one by one turn', async (t) => {
  const queue = new FairQueue<Member>()
  for (let i = 0; i < 1_000; i++) queue.push(new Member('hook', i))
  queue.push(new Member('mail', 0))
  t.equal(queue.shift()?.key, 'hook')
  t.equal(queue.shift()?.key, 'mail')
})

t.test('whatever is pushed, taken and removed: in order within a key, and no key waits longer than a round', async () => {
  const command = fc.record({ what: fc.constantFrom('push', 'push', 'shift', 'remove'), key: fc.constantFrom('a', 'b', 'c', '__proto__'), at: fc.nat(50) })
  fc.assert(fc.property(fc.array(command, { maxLength: 200 }), (commands) => {
    const queue = new FairQueue<Member>()
    const model: Member[] = []
    /** By key: how many members of other keys went while the key had one. */
    const missed = new Map<string, number>()
    for (const [number, { what, key, at }] of commands.entries()) {
      const target = model[at % Math.max(model.length, 1)]
      if (what === 'push') {
        const member = new Member(key, number)
        queue.push(member)
        model.push(member)
      } else if (what === 'shift') {
        const member = queue.shift()
        if (member !== model.find((each) => each.key === member?.key)) return false
        if (member === undefined) continue
        model.splice(model.indexOf(member), 1)
        const others = new Set(model.map((each) => each.key))
        missed.delete(member.key)
        for (const other of missed.keys()) if (!others.has(other)) missed.delete(other)
        others.delete(member.key)
        for (const other of others) missed.set(other, (missed.get(other) ?? 0) + 1)
        if ([...missed.values()].some((turns) => turns > 3)) return false
      } else if (target !== undefined) {
        model.splice(model.indexOf(target), 1)
        if (!queue.remove(target) || queue.remove(target)) return false
      }
      if (queue.size !== model.length) return false
    }
    while (queue.size > 0) queue.shift()
    return queue.shift() === undefined
  }))
})
