import { threadMark, type Refuse } from '../../workers/mark.ts'
import { JobsInvalidError } from './errors.ts'

/**
 * An app that finds itself in a thread of ours was started by its own jobs file, and would start threads that start apps.
 * The main thread is told, so that its boot fails and says why.
 *
 * @throws JobsInvalidError
 */
export function refuseInThread (): void {
  const refuse = (globalThis as { [threadMark]?: Refuse })[threadMark]
  if (refuse === undefined) return
  const error = new JobsInvalidError('The jobs file starts the application in a worker thread: call defineJobs in a module that starts nothing, and bundle it as an entry point of its own')
  refuse(error)
  throw error
}
