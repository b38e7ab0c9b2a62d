/** What ends a wait of code before it is served: the caller's signal, and the end of the current request. */
import type { FastifyRequest } from 'fastify'
import { endSignalOf } from '../cancellation/request-end.ts'
import { ClosingError, LimitWaitAbortedError } from '../shared/errors.ts'
import { abortSignal, boolean } from '../shared/options.ts'

interface Ends {
  /** The request with which the wait ends, if it isn't detached from the current one. */
  owner: FastifyRequest | undefined
  signals: readonly AbortSignal[]
}

/** Checks the options of a call, and returns what ends its wait. */
export function endsOf (
  { signal, detached = false }: { signal?: AbortSignal, detached?: boolean }, request: FastifyRequest | undefined
): Ends {
  if (signal !== undefined) abortSignal('signal', signal)
  const owner = boolean('detached', detached) ? undefined : request
  return { owner, signals: [signal, owner && endSignalOf(owner)].filter((each) => each !== undefined) }
}

/** Waits. Rejects with FC_ERR_LIMIT_WAIT_ABORTED if one of the signals ends the wait, or has aborted before. */
export async function untilEnded<T> (
  policy: string, signals: readonly AbortSignal[], wait: () => T | Promise<T>
): Promise<T> {
  try {
    for (const signal of signals) signal.throwIfAborted()
    return await wait()
  } catch (error) {
    // At its deadline a shutdown aborts the signal of the request: then the service is closing, and nobody has given up.
    const isEnded = signals.some(({ aborted, reason }) => aborted && reason === error)
    throw isEnded && !(error instanceof ClosingError) ? new LimitWaitAbortedError(policy, { cause: error }) : error
  }
}
