import t from 'tap'
import fc from 'fast-check'
import { List, type Linked } from '../../plugins/tasks/list.ts'
import { Room, secondsUntilRoom } from '../../plugins/tasks/room.ts'

t.test('room is bounded, and handed to who waits before any newcomer', async (t) => {
  const room = new Room(2, 2)
  const { signal } = new AbortController()
  t.equal(room.take(), true)
  t.equal(room.take(), true)
  t.equal(room.take(), false)
  const order: string[] = []
  const first = room.wait(signal)!.then(() => order.push('first'))
  const second = room.wait(signal)!.then(() => order.push('second'))
  t.equal(room.wait(signal), undefined, 'who waits is bounded too')
  room.give()
  t.equal(room.take(), false, 'the place that became free is the first waiter\'s')
  room.give()
  await Promise.all([first, second])
  t.same(order, ['first', 'second'])
  t.equal(room.taken, 2)
  room.give()
  room.give()
  t.equal(room.taken, 0)
})

t.test('who stops waiting leaves no listener and takes no place', async (t) => {
  const room = new Room(1, 5)
  room.take()
  const controller = new AbortController()
  const left = room.wait(controller.signal)!
  const stays = room.wait(new AbortController().signal)!
  controller.abort(new Error('enough'))
  await t.rejects(left, { message: 'enough' })
  t.equal(room.waiting, 1)
  room.give()
  await stays
  t.equal(room.taken, 1)
  const refused = [room.wait(new AbortController().signal)!, room.wait(new AbortController().signal)!]
  room.refuseAll(new Error('closed'))
  for (const each of refused) await t.rejects(each, { message: 'closed' })
})

t.test('when there will be room, in whole seconds', async (t) => {
  t.equal(secondsUntilRoom(1_000, 200, 64), 4)
  t.equal(secondsUntilRoom(0, 200, 64), 1, 'never at once')
  t.equal(secondsUntilRoom(1_000_000, 60_000, 1), 300, 'nobody can tell')
})

interface Member extends Linked<Member> { id: number }

t.test('a list behaves as an array does, whatever is pushed, shifted, removed and replaced', async () => {
  const command = fc.tuple(fc.constantFrom('push', 'shift', 'remove', 'replace'), fc.nat(20))
  fc.assert(fc.property(fc.array(command, { maxLength: 100 }), (commands) => {
    const list = new List<Member>()
    const model: Member[] = []
    let id = 0
    const make = (): Member => ({ id: id++, list: undefined, previous: undefined, next: undefined })
    for (const [what, at] of commands) {
      const target = model[at % Math.max(model.length, 1)]
      if (what === 'push') {
        const member = make()
        list.push(member)
        model.push(member)
      } else if (what === 'shift') {
        if (list.shift() !== model.shift()) return false
      } else if (target !== undefined && what === 'remove') {
        model.splice(model.indexOf(target), 1)
        if (!list.remove(target) || list.remove(target)) return false
      } else if (target !== undefined) {
        const member = make()
        model[model.indexOf(target)] = member
        list.replace(target, member)
      }
      if (list.size !== model.length) return false
    }
    return model.every((member) => list.shift() === member) && list.shift() === undefined
  }))
})
