/**
 * Groups knows the groups of an application that have something to run, for its shutdown: a group that its handler
 * doesn't await, or one that is detached, is nobody else's.
 */
import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import { DenseSet, type DenseSetMember } from '../../shared/collections/dense-set.ts'
import { IdleWaiters, type Drainable, type Unfinished } from '../../shared/drainables.ts'
import { ClosingError } from '../../shared/errors.ts'
import { within } from '../../shared/within.ts'
import type { TaskLedger } from '../ledger.ts'
import type { Attempt } from '../task.ts'
import { Group, type GroupHost } from './group.ts'

export interface GroupsDeps {
  /**
   * How long an aborted group is held, in ms. A function that ignores its signal may never settle: it must neither hold
   * up each shutdown nor stay in memory for ever.
   */
  giveUpAfter: number
  ledger: TaskLedger
}

/** The request or the task in which a group was made. */
export interface GroupOwner {
  request: FastifyRequest | undefined
  attempt: Attempt | undefined
}

export class Groups implements Drainable {
  readonly name = 'groups'
  // Not with the requests: a task's groups may run as long as the task.
  readonly phase = 'tasks'
  readonly #deps: GroupsDeps
  readonly #running = new DenseSet<ActiveGroup>()
  #isClosing = false
  #lost: Unfinished[] = []
  readonly #idle = new IdleWaiters()

  constructor (deps: GroupsDeps) {
    this.#deps = deps
  }

  get pending (): number { return this.#running.size }

  create<T> (limit: number, parents: readonly AbortSignal[], owner: GroupOwner): Group<T> {
    const { ledger, giveUpAfter } = this.#deps
    const running = new ActiveGroup(owner)
    const end = (): void => {
      clearTimeout(running.timer)
      this.#end(running)
    }
    const host: GroupHost = {
      unseen: (error) => ledger.groupErrorUnseen(error, running.log),
      further: (error) => ledger.groupErrorFurther(error, running.log),
      began: () => {
        running.since = performance.now()
        this.#running.add(running)
      },
      ended: end,
      aborted: () => {
        if (giveUpAfter !== Infinity) running.timer = setTimeout(() => this.#giveUp(running), giveUpAfter).unref()
      }
    }
    return new Group<T>(limit, parents, host, running.controller)
  }

  #giveUp (running: ActiveGroup): void {
    const unfinished = running.describe(performance.now())
    this.#deps.ledger.groupLeaked(unfinished, running.log)
    if (this.#isClosing) this.#lost.push(unfinished)
    this.#end(running)
  }

  #end (running: ActiveGroup): void {
    this.#running.delete(running)
    if (this.pending > 0) return
    this.#idle.wake()
  }

  idle (): Promise<void> {
    return this.#idle.wait(this.pending)
  }

  // Refuses nothing: requests and tasks that finish need their groups.
  close (): void {
    this.#isClosing = true
  }

  held (): Unfinished[] {
    const now = performance.now()
    return this.#running.all().map((running) => running.describe(now))
  }

  lost (): Unfinished[] {
    return this.#lost
  }

  async giveUp (grace: number): Promise<Unfinished[]> {
    const unfinished = this.held()
    const reason = new ClosingError('The service', true)
    for (const { controller } of this.#running.all()) controller.abort(reason)
    await within(grace, this.idle())
    return unfinished
  }
}

/** The entry of a group that has something to run. */
class ActiveGroup implements DenseSetMember {
  denseIndex = -1
  since = 0
  readonly controller = new AbortController()
  timer: NodeJS.Timeout | undefined
  readonly #owner: GroupOwner

  constructor (owner: GroupOwner) {
    this.#owner = owner
  }

  get log (): FastifyBaseLogger | undefined {
    return this.#owner.request?.log ?? this.#owner.attempt?.log
  }

  describe (now: number): Unfinished {
    const { request, attempt } = this.#owner
    const [name, id] = request !== undefined
      ? [`${request.method} ${request.routeOptions.url ?? request.url}`, request.id]
      : [attempt?.name ?? 'group', attempt?.id ?? 'group']
    return { kind: 'group', name, id, ageMs: Math.round(now - this.since), attempt: attempt?.attempt ?? 1 }
  }
}
