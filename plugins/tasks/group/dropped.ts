/**
 * Reports groups that started work and were then dropped, and errors of groups that nobody has seen. A dropped group is found at the end
 * of the request or of the attempt of a task that made it, otherwise when the group is garbage.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { TaskContext } from '../attempt.ts'
import { groupDropped } from '../channels.ts'
import type { Group } from './group.ts'
import { say } from '../say.ts'
import { Unattended } from './unattended.ts'

const messages = {
  dropped: 'a group was dropped without wait(): nobody sees its errors',
  failed: 'a group has failed, and no wait() has thrown its error'
} as const

type Owner = FastifyRequest | TaskContext

export interface DroppedGroups {
  /** What a new group of `owner` reports to. */
  unattended (madeAt: { stack: string } | undefined): Unattended
  /** @param owner makes the group, if a request or a task does */
  watch (group: Group<never>, unattended: Unattended, owner: Owner | undefined): void
  /** The owner has ended, and its groups with it. */
  ended (owner: Owner): void
}

export function reportDroppedGroups (app: FastifyInstance): DroppedGroups {
  const byOwner = new WeakMap<Owner, Unattended[]>()
  const collected = new FinalizationRegistry((unattended: Unattended) => unattended.drop())

  const dropped: DroppedGroups = {
    unattended: (madeAt) => new Unattended((how, error) => {
      const stack = madeAt?.stack
      say(app.log, 'warn', { made: stack, ...(error === undefined ? {} : { err: error }) }, messages[how])
      if (groupDropped.hasSubscribers) groupDropped.publish({ server: app.server, stack, error })
    }),

    watch (group, unattended, owner) {
      collected.register(group, unattended)
      if (owner === undefined) return
      const others = byOwner.get(owner)
      if (others === undefined) byOwner.set(owner, [unattended])
      else others.push(unattended)
    },

    ended (owner) {
      byOwner.get(owner)?.forEach((unattended) => unattended.drop())
      byOwner.delete(owner)
    }
  }

  app.addHook('onResponse', (request, _reply, done) => {
    dropped.ended(request)
    done()
  })
  return dropped
}
