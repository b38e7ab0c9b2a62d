/** Options of @fastify/rate-limit that a bucket has no use for, and what to use instead. */
import { ensure, record } from '../../shared/options.ts'

const replaced: Readonly<Record<string, string>> = {
  ban: 'no ban: a limited client gets 429 until its bucket refills',
  onBanReach: 'no ban: a limited client gets 429 until its bucket refills',
  continueExceeding: 'no such option: a refused request takes no tokens, so it neither prolongs nor shortens the wait',
  exponentialBackoff: 'no such option: a refused request takes no tokens, so the wait is always the time until the bucket refills',
  cache: 'the limiter\'s maxKeys: one bounded table for each policy',
  store: 'the limiter\'s redis option, or nothing for memory',
  nameSpace: 'the limiter\'s prefix',
  enableDraftSpec: 'no such option: the fields of the current draft are always sent',
  addHeaders: 'the limiter\'s legacyHeaders, or expose: false on a policy',
  addHeadersOnExceeding: 'the limiter\'s legacyHeaders, or expose: false on a policy',
  errorResponseBuilder: 'the limiter\'s body option',
  onExceeding: 'the fields of the response, or limiter.peek()',
  onExceeded: 'the diagnostics channel fastify-concurrency:limiter:refused',
  global: 'routes: \'all\' or \'named\' on a policy',
  max: 'a policy with a rate and a burst',
  timeWindow: 'a policy with a rate and a burst',
  keyGenerator: 'key on a policy',
  groupId: 'one policy with routes: \'named\', which the routes name',
  hook: 'stage on a policy',
  skipOnError: 'onStoreError on a policy'
}

/** Refuses those options by name, except those that are allowed. Throws FC_ERR_OPTION_INVALID. */
export function refuseReplaced (option: string, options: unknown, allowed: readonly string[]): void {
  for (const [name, value] of Object.entries(record(option, options))) {
    const instead = allowed.includes(name) || !Object.hasOwn(replaced, name) ? undefined : replaced[name]
    if (instead !== undefined) ensure(false, `${option}.${name}`, instead, value)
  }
}
