/** The options that users of other limiters look for, and what to use instead. */
import { ensure, record } from '../../shared/options.ts'

const burst = 'rate, per and burst of a policy, for example { rate: 100, per: \'minute\', burst: 100 }'
const period = 'per of a policy, for example { rate: 100, per: \'minute\', burst: 100 }'
const lockout = 'lockout of a policy, for example { after: 5, duration: 900_000 }'
const exempt = 'allowList of the limiter (addresses) or of a policy (keys)'
const policy = 'an option of a policy: policies: { name: { rate, burst, key } }'
const noGrowth = 'no such option: a refused request takes no tokens, so it neither prolongs nor shortens the wait'
const fields = 'legacyHeaders of the limiter, or expose: false of a policy'

/** By the option's name. The names are those of @fastify/rate-limit, express-rate-limit, rate-limiter-flexible, and obvious misspellings. */
const replaced: Readonly<Record<string, string>> = {
  max: burst,
  limit: burst,
  points: burst,
  capacity: burst,
  timeWindow: period,
  windowMs: period,
  window: period,
  interval: period,
  duration: period,
  keyGenerator: 'key of a policy',
  keyBy: 'key of a policy',
  rate: policy,
  per: policy,
  burst: policy,
  key: policy,
  lockout: policy,
  missingKey: policy,
  onStoreError: policy,
  allowlist: exempt,
  whitelist: exempt,
  skip: exempt,
  ban: lockout,
  blockDuration: lockout,
  onBanReach: `${lockout}, and onExceeded`,
  continueExceeding: noGrowth,
  exponentialBackoff: noGrowth,
  cache: 'maxKeys of the limiter: one bounded table for each policy',
  store: 'redis of the limiter, or nothing for memory',
  nameSpace: 'prefix of the limiter',
  keyPrefix: 'prefix of the limiter',
  enableDraftSpec: 'no such option: the fields of the current draft are always sent',
  standardHeaders: 'no such option: the fields of the current draft are always sent',
  addHeaders: fields,
  addHeadersOnExceeding: fields,
  errorResponseBuilder: 'body of the limiter, of a policy, or of config.limiter',
  handler: 'body or onExceeded of the limiter, of a policy, or of config.limiter',
  message: 'body of the limiter, of a policy, or of config.limiter',
  body: 'body of the limiter, of a policy, or of config.limiter',
  onExceeding: 'the fields of the response, or limiter.peek()',
  onExceeded: 'onExceeded of the limiter, of a policy, or of config.limiter',
  global: 'routes: \'all\' or \'named\' of a policy',
  groupId: 'one policy with routes: \'named\', which the routes name',
  hook: 'stage of a policy',
  skipOnError: "onStoreError of a policy: 'open' for true, 'closed' for false",
  skipFailedRequests: 'limiter.peek() before the work, and limiter.allow() after it: see docs/recipes/login-limit.md',
  skipSuccessfulRequests: 'limiter.peek() before the work, and limiter.allow() after it: see docs/recipes/login-limit.md'
}

/** Refuses those options by name, except those that are allowed. Throws FC_ERR_OPTION_INVALID. */
export function refuseReplaced (option: string, options: unknown, allowed: readonly string[]): void {
  for (const [name, value] of Object.entries(record(option, options))) {
    const instead = allowed.includes(name) || !Object.hasOwn(replaced, name) ? undefined : replaced[name]
    if (instead !== undefined) ensure(false, `${option}.${name}`, instead, value)
  }
}
