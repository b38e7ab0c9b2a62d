/**
 * Reports groups that started work and were then dropped: nobody will see its errors. Found at the end of the request that made the
 * group, or else when the group is garbage.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { groupDropped } from './channels.ts'
import type { Group, GroupState } from './group.ts'

interface Watched {
  state: GroupState
  madeAt: { stack: string } | undefined
}

export interface DroppedGroups {
  watch (group: Group<never>, state: GroupState, madeAt: { stack: string } | undefined, request: FastifyRequest | undefined): void
}

export function reportDroppedGroups (app: FastifyInstance): DroppedGroups {
  const byRequest = new WeakMap<FastifyRequest, Watched[]>()
  const collected = new FinalizationRegistry(report)

  function report ({ state, madeAt }: Watched): void {
    if (!state.unattended) return
    state.unattended = false
    const stack = madeAt?.stack
    app.log.warn({ made: stack }, 'a group was dropped without wait(): nobody sees its errors')
    groupDropped.publish({ server: app.server, stack })
  }

  app.addHook('onResponse', (request, _reply, done) => {
    byRequest.get(request)?.forEach(report)
    done()
  })

  return {
    watch (group, state, madeAt, request) {
      const watched = { state, madeAt }
      collected.register(group, watched)
      if (request === undefined) return
      const others = byRequest.get(request)
      if (others === undefined) byRequest.set(request, [watched])
      else others.push(watched)
    }
  }
}
