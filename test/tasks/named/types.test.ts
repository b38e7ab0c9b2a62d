// Types only: what must compile does, and what must not is expected to fail. tsc is the test; tap runs the one assertion.
import t from 'tap'
import { defineTasks } from '../../../plugins/tasks/index.ts'
import type { EnqueueArgs, PayloadOf, ResultOf } from '../../../plugins/tasks/named/define.ts'
import type { Tasks } from '../../../plugins/tasks/index.ts'

const tasks = defineTasks({
  welcome: { handler: async ({ to }: { to: string }, { signal }) => ({ to, aborted: signal.aborted }), retries: 3 },
  sweep: { handler: () => 7 },
  remind: { handler: async (when?: string) => when }
})

// @ts-expect-error misspelt
defineTasks({ welcome: { handler: async (to: string) => to, retriez: 3 } })
// @ts-expect-error misspelt, beside a task without options
defineTasks({ sweep: { handler: () => 7 }, welcome: { handler: async (to: string) => to, timout: 3 } })
// @ts-expect-error not two parameters of its own
defineTasks({ welcome: { handler: (to: string, from: string) => to + from } })

type Definitions = typeof tasks
type Args<Name extends keyof Definitions> = EnqueueArgs<PayloadOf<Definitions[Name]>, { id?: string }>

function accepts<T> (...values: T[]): number {
  return values.length
}

t.test('payloads and results are those of the handlers', async (t) => {
  accepts<Args<'welcome'>>([{ to: 'a' }], [{ to: 'a' }, { id: 'x' }])
  accepts<Args<'sweep'>>([], [undefined, { id: 'x' }])
  accepts<Args<'remind'>>([], ['tomorrow'], [undefined, { id: 'x' }])
  // @ts-expect-error a payload is needed
  accepts<Args<'welcome'>>([])
  // @ts-expect-error a wrong payload
  accepts<Args<'welcome'>>([{ to: 1 }])
  // @ts-expect-error a handler that takes none
  accepts<Args<'sweep'>>([1])
  accepts<ResultOf<Definitions['welcome']>>({ to: 'a', aborted: false })
  // @ts-expect-error not the result
  accepts<ResultOf<Definitions['sweep']>>('seven')
  t.same(Object.keys(tasks), ['welcome', 'sweep', 'remind'])
})

export async function operatingTypes ({ failed, retry, retryAll, discard, pause }: Tasks): Promise<void> {
  const [task] = await failed('welcome', { limit: 1, payload: true })
  accepts<string | undefined>(task?.id, task?.error.stack)
  accepts<number>(await retryAll('welcome'))
  await pause('welcome')
  await retry('welcome', 'id')
  // @ts-expect-error one task needs an id: discardAll() is for all
  await discard('welcome')
  // @ts-expect-error an id that may be missing
  await discard('welcome', task?.id)
  // @ts-expect-error no such option
  await failed('welcome', { end: 1 })
}

export async function submitTypes (tasks: Tasks): Promise<void> {
  const now = tasks.submit('a', async () => 7)
  accepts<number>(await now.done)
  using place = tasks.reserve()
  accepts<number>(await place.submit('a', () => 7).done)
  // @ts-expect-error no such option
  tasks.submit('a', () => 7, { retry: 1 })
  const group = tasks.group<number>()
  await group.go(() => 7)
  // @ts-expect-error not what the group collects
  await group.go(() => 'x')
  accepts<number[]>(await group.wait())
  accepts<string[]>(await group.map([1, 2], (n) => String(n)))
}
