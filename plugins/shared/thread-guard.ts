import { threadMark, type Refuse } from '../../workers/mark.ts'
import { JobsInvalidError } from './errors.ts'

/**
 * Refuses to register the suite inside one of its own worker threads. There, the jobs file has started the application,
 * which would start threads that start applications. The main thread gets the error too, so that its boot fails with
 * the reason.
 *
 * @throws JobsInvalidError
 */
export function refuseInThread (): void {
  const refuse = (globalThis as { [threadMark]?: Refuse })[threadMark]
  if (refuse === undefined) return
  const error = new JobsInvalidError(
    'The jobs file starts the application in a worker thread: call defineJobs in a module that starts nothing, and bundle it as an entry point of its own')
  refuse(error)
  throw error
}
