/**
 * The token bucket in Lua, as it runs inside Redis or Valkey. One round trip decides on all policies of a stage, atomically, by one clock.
 *
 * Numbers are sent and returned as text, because Redis truncates a Lua number in a reply to an integer. A value that this script didn't
 * write, or that is of another type, counts as a full bucket and is overwritten: one odd key must not take the limiter away from everybody.
 *
 * A bucket is written as its tokens, the time of that count, how many ms later the bucket may be forgotten, and how many ms later the last
 * reservation acts. It may not be forgotten as soon as its own burst is there again: where the requests of one key differ in burst, the smaller
 * burst would free the key from the larger one. A policy with a lockout adds the refusals that were counted, and when the lockout ends.
 */
import { SAME, SLACK } from './bucket.ts'

/**
 * The largest step back of the server's clock, in ms, that buckets wait out. A step happens by hand, or by a failover to a machine whose
 * clock is behind. After a small step nothing flows until the clock is where it was, and waits say so. After a larger step the buckets start
 * again from the new time: otherwise every limited key would be refused for as long as the step.
 */
const STEP = 10_000
/** The longest life of a key, in ms. Redis refuses lives that its clock can't hold; thirty thousand years are enough. */
const LONGEST = 1e15

const prelude = `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000

local function timeOf(tokens, rate)
  return math.floor(1e9 * (tokens / rate)) / 1e6
end

local function load(key, rate, burst)
  local full = { tokens = burst, at = now, left = 0, ahead = 0, refusals = 0, lockedUntil = 0 }
  local state = redis.pcall('GET', key)
  if type(state) ~= 'string' then return full end
  local tokens, at, left, ahead, refusals, lockedUntil = string.match(state, '^(%S+) (%S+) ?(%S*) ?(%S*) ?(%S*) ?(%S*)$')
  tokens, at, left, ahead = tonumber(tokens), tonumber(at), tonumber(left) or 0, tonumber(ahead) or 0
  refusals, lockedUntil = tonumber(refusals) or 0, tonumber(lockedUntil) or 0
  if not tokens or not at or not (tokens > -math.huge) then return full end
  if at > now + ${STEP} then at = now end
  local passed = now - at
  if passed > 0 then
    tokens, at, left, ahead = tokens + passed / 1000 * rate, now, math.max(0, left - passed), ahead - passed
  end
  return { tokens = math.min(burst, tokens), at = at, left = left, ahead = ahead, refusals = refusals, lockedUntil = lockedUntil }
end

local function store(key, bucket, spent, rate, burst)
  local left = math.max(math.max(0, burst - bucket.tokens) * 1000 / rate, bucket.left + spent * 1000 / rate)
  local life = math.ceil(math.max(bucket.at - now + left, bucket.lockedUntil - now)) + 1
  local state = string.format('%.17g %.17g %.17g %.17g', bucket.tokens, bucket.at, left, bucket.ahead)
  if bucket.refusals > 0 or bucket.lockedUntil > now then
    state = state .. string.format(' %d %.17g', bucket.refusals, bucket.lockedUntil)
  end
  redis.call('SET', key, state, 'PX', string.format('%.0f', math.min(life, ${LONGEST})))
end
`

/**
 * KEYS: one for each charge. ARGV: maxWait, then rate, burst, cost, and the refusals and ms of the lockout (0 and 0 without one) of each.
 * Returns one text, which is quicker to parse than a list: granted (1 or 0), now, then tokens, wait and locked out (1 or 0) of each.
 */
export const take = `${prelude}
local maxWait = tonumber(ARGV[1])
local granted = 1
local charges = {}
for i, key in ipairs(KEYS) do
  local rate, burst, cost, after, duration = unpack(ARGV, 5 * i - 3, 5 * i + 1)
  local charge = { rate = tonumber(rate), burst = tonumber(burst), cost = tonumber(cost), after = tonumber(after), duration = tonumber(duration) }
  local bucket = load(key, charge.rate, charge.burst)
  local missing = charge.cost - bucket.tokens
  charge.bucket = bucket
  charge.wait = missing <= ${SLACK} and 0 or bucket.at - now + timeOf(missing, charge.rate)
  -- After the clock was set back, a lockout takes no longer than it did at first.
  charge.locked = math.min(charge.duration, math.max(0, bucket.lockedUntil - now))
  if charge.wait > maxWait or charge.locked > 0 then granted = 0 end
  charges[i] = charge
end
local reply = { string.format('%d %.17g', granted, now) }
for i, key in ipairs(KEYS) do
  local charge = charges[i]
  local bucket = charge.bucket
  if charge.locked > 0 then
    bucket.tokens = math.min(0, bucket.tokens)
    charge.wait = math.max(charge.wait, charge.locked)
  elseif charge.wait > maxWait and charge.cost > 0 and charge.after > 0 then
    bucket.refusals = bucket.refusals + 1
    if bucket.refusals >= charge.after then
      bucket.refusals, bucket.lockedUntil = 0, now + charge.duration
      charge.locked = charge.duration
      charge.wait = math.max(charge.wait, charge.duration)
    end
    store(key, bucket, 0, charge.rate, charge.burst)
  elseif granted == 1 and charge.cost > 0 then
    bucket.tokens, bucket.ahead = bucket.tokens - charge.cost, charge.wait - (bucket.at - now)
    store(key, bucket, charge.cost, charge.rate, charge.burst)
  end
  reply[i + 1] = string.format('%.17g %.17g %d', bucket.tokens, charge.wait, charge.locked > 0 and 1 or 0)
end
return table.concat(reply, ' ')
`

/**
 * KEYS: the bucket. ARGV: rate, burst, cost; for a reservation also when it was made, and how many ms later it was to act. See refund and giveBack
 * in bucket.ts.
 */
export const giveBack = `${prelude}
local rate, burst, cost, reservedAt, wait = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if redis.call('EXISTS', KEYS[1]) == 0 then return end
local bucket = load(KEYS[1], rate, burst)
local restored = cost
if reservedAt then
  local acts = wait - (bucket.at - reservedAt)
  restored = cost - (bucket.ahead - acts) / 1000 * rate
  if acts <= -${SAME} or restored <= 0 then return end
  local before = acts - timeOf(cost, rate)
  if math.abs(bucket.ahead - acts) < ${SAME} and before > -${SAME} then bucket.ahead = before end
end
bucket.tokens = math.min(burst, bucket.tokens + restored)
store(KEYS[1], bucket, -restored, rate, burst)
`
