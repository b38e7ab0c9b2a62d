/**
 * Gives back reserved places that are forgotten: a handler that fails without `using` would otherwise fill the queue
 * for good.
 */
import { endOf } from '../cancellation/request-end.ts'
import { currentRequest } from '../cancellation/index.ts'
import { RequestEndedError } from '../shared/errors.ts'
import type { Place } from './scheduler.ts'

/** Where no request has been answered, garbage collection tells that nobody can use a place any more. */
const unreachable = new FinalizationRegistry<Place>((place) => place.release())

/**
 * Returns a place that is given back when the current request has been answered. A handler that goes on after its
 * client has left keeps its place: what it has written may need the task.
 */
export function notForgotten (place: Place): Place {
  const request = currentRequest()
  const end = request && endOf(request)
  const follower = { aborted: (reason: unknown) => { if (reason instanceof RequestEndedError) place.release() } }
  const forgetEnd = (): void => end?.unfollow(follower)
  end?.follow(follower)
  const kept: Place = {
    submit (submission) {
      const handle = place.submit(submission)
      forgetEnd()
      return handle
    },
    release () {
      forgetEnd()
      place.release()
    }
  }
  unreachable.register(kept, place)
  return kept
}
