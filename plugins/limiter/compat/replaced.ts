/** The options that users of other limiters look for, and what to use instead. */

const refusals = 'of the limiter, of a policy, or of config.limiter'

/**
 * Lists what to use in place of which options. The names are those of @fastify/rate-limit, express-rate-limit, rate-limiter-flexible, and obvious
 * misspellings; and those of a policy's options, for users who set them on the limiter.
 */
const replacements: ReadonlyArray<readonly [instead: string, names: string]> = [
  ['rate, per and burst of a policy, for example { rate: 100, per: \'minute\', burst: 100 }', 'max limit points capacity'],
  ['per of a policy, for example { rate: 100, per: \'minute\', burst: 100 }', 'timeWindow windowMs window interval duration'],
  ['an option of a policy: policies: { name: { rate, burst, key } }', 'rate per burst key lockout missingKey onStoreError'],
  ['key of a policy', 'keyGenerator keyBy'],
  ['allowList of the limiter (addresses) or of a policy (keys)', 'allowlist whitelist skip'],
  ['lockout of a policy, for example { after: 5, duration: 900_000 }', 'ban blockDuration'],
  ['lockout of a policy, for example { after: 5, duration: 900_000 }, and onExceeded', 'onBanReach'],
  ['nothing: a refused request takes no tokens, so it neither prolongs nor shortens the wait', 'continueExceeding exponentialBackoff'],
  ['maxKeys of the limiter: one bounded table for each policy', 'cache'],
  ['redis of the limiter, or nothing for memory', 'store'],
  ['prefix of the limiter', 'nameSpace keyPrefix'],
  ['nothing: the fields of the current draft are always sent', 'enableDraftSpec standardHeaders'],
  ['legacyHeaders of the limiter, or expose: false of a policy', 'addHeaders addHeadersOnExceeding'],
  [`body ${refusals}`, 'errorResponseBuilder message body'],
  [`body or onExceeded ${refusals}`, 'handler'],
  [`onExceeded ${refusals}`, 'onExceeded'],
  ['the fields of the response, or limiter.peek()', 'onExceeding'],
  ['routes: \'all\' or \'named\' of a policy', 'global'],
  ['one policy with routes: \'named\', which the routes name', 'groupId'],
  ['stage of a policy', 'hook'],
  ["onStoreError of a policy: 'open' for true, 'closed' for false", 'skipOnError'],
  ['charge of a policy, for example charge: (request, reply) => reply.statusCode === 401 ? 1 : 0', 'skipFailedRequests skipSuccessfulRequests']
]

/** What to use in place of an option, by the option's name. */
export const replaced: ReadonlyMap<string, string> = new Map(replacements.flatMap(([instead, names]) => names.split(' ').map((name) => [name, instead])))
