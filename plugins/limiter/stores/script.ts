/**
 * The token bucket in Lua, as it runs inside Redis or Valkey. One round trip decides on all policies of a stage, atomically, by one clock.
 *
 * Numbers are sent and returned as text, because Redis truncates a Lua number in a reply to an integer. They are stored as they are in memory,
 * because writing and reading them as text took much of the script's time. A value that this script didn't
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
const MAX_CLOCK_STEP_MS = 10_000
/** The longest life of a key, in ms. Redis refuses lives that its clock can't hold; thirty thousand years are enough. */
const LONGEST = 1e15

/** The first byte of a bucket's value. A value that begins otherwise, or has another length, is not the script's. */
const FORMAT = 1

const prelude = `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000

local function timeOf(tokens, rate)
  return math.floor(1e9 * (tokens / rate)) / 1e6
end

local function load(key, rate, burst, cost)
  local state = redis.pcall('GET', key)
  local tokens, at, left, ahead, refusals, lockedUntil = burst, now, 0, 0, 0, 0
  if type(state) == 'string' and string.byte(state) == ${FORMAT} and (#state == 33 or #state == 49) then
    tokens, at, left, ahead = struct.unpack('<dddd', state, 2)
    if #state == 49 then refusals, lockedUntil = struct.unpack('<dd', state, 34) end
    -- NaN is not the script's, and of the numbers only the time left may be infinite.
    local sum = tokens + at + ahead + refusals + lockedUntil
    if sum - sum ~= 0 or left ~= left then tokens, at, left, ahead, refusals, lockedUntil = burst, now, 0, 0, 0, 0 end
    if at > now + ${MAX_CLOCK_STEP_MS} then at = now end
    local passed = now - at
    if passed > 0 then
      tokens, at, left, ahead = tokens + passed / 1000 * rate, now, math.max(0, left - passed), ahead - passed
    end
    if tokens > burst then tokens = burst end
  end
  -- All fields at once, since a table that grows is copied.
  return {
    rate = rate, burst = burst, cost = cost, tokens = tokens, at = at, left = left, ahead = ahead,
    refusals = refusals, lockedUntil = lockedUntil, wait = 0, locked = 0
  }
end

local function store(key, bucket, spent)
  local rate, burst = bucket.rate, bucket.burst
  local left = math.max((burst - bucket.tokens) * 1000 / rate, bucket.left + spent * 1000 / rate)
  local life = math.ceil(math.max(bucket.at - now + left, bucket.lockedUntil - now)) + 1
  local state = struct.pack('<bdddd', ${FORMAT}, bucket.tokens, bucket.at, left, bucket.ahead)
  if bucket.refusals > 0 or bucket.lockedUntil > now then
    state = state .. struct.pack('<dd', bucket.refusals, bucket.lockedUntil)
  end
  redis.call('SET', key, state, 'PX', math.min(life, ${LONGEST}))
end
`

/**
 * KEYS: one for each charge. ARGV: rate, burst and cost of each; then maxWait, and the refusals and ms of the lockout of
 * each (0 and 0 without one). What is 0 for all charges is left out at the end, because each argument costs time.
 * Returns one text, which is quicker to parse than a list: granted (1 or 0), the seconds and microseconds of the server's clock, then tokens, wait
 * and locked out (1 or 0) of each.
 */
const take = `
local count = #KEYS
local maxWait = tonumber(ARGV[3 * count + 1] or 0)
local granted = 1
local buckets = {}
for i = 1, count do
  local rate, burst, cost = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  local bucket = load(KEYS[i], rate, burst, cost)
  local missing = cost - bucket.tokens
  if missing > ${SLACK} then bucket.wait = bucket.at - now + timeOf(missing, rate) end
  -- After the clock was set back, a lockout takes no longer than it did at first.
  if bucket.lockedUntil > now then
    bucket.locked = math.min(tonumber(ARGV[3 * count + 2 * i + 1] or 0), bucket.lockedUntil - now)
  end
  if bucket.wait > maxWait or bucket.locked > 0 then granted = 0 end
  buckets[i] = bucket
end
local reply = granted .. ' ' .. time[1] .. ' ' .. time[2]
for i = 1, count do
  local bucket = buckets[i]
  local cost, wait, locked = bucket.cost, bucket.wait, bucket.locked
  if locked > 0 then
    bucket.tokens = math.min(0, bucket.tokens)
    wait = math.max(wait, locked)
  elseif wait > maxWait and cost > 0 and (ARGV[3 * count + 2 * i] or '0') ~= '0' then
    bucket.refusals = bucket.refusals + 1
    if bucket.refusals >= tonumber(ARGV[3 * count + 2 * i]) then
      locked = tonumber(ARGV[3 * count + 2 * i + 1])
      bucket.refusals, bucket.lockedUntil = 0, now + locked
      wait = math.max(wait, locked)
    end
    store(KEYS[i], bucket, 0)
  elseif granted == 1 and cost > 0 then
    bucket.tokens, bucket.ahead = bucket.tokens - cost, wait - (bucket.at - now)
    store(KEYS[i], bucket, cost)
  end
  reply = reply .. string.format(' %.17g %.17g %d', bucket.tokens, wait, locked > 0 and 1 or 0)
end
return reply
`

/**
 * KEYS: the bucket. ARGV: rate, burst, cost; for a reservation also when it was made, and how many ms later it was to act;
 * then the word `back`. See refund and giveBack in bucket.ts.
 */
const giveBack = `
local rate, burst, cost, reservedAt, wait = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if redis.call('EXISTS', KEYS[1]) == 0 then return end
local bucket = load(KEYS[1], rate, burst, cost)
local restored = cost
if reservedAt then
  local acts = wait - (bucket.at - reservedAt)
  restored = cost - (bucket.ahead - acts) / 1000 * rate
  if acts <= -${SAME} or restored <= 0 then return end
  local before = acts - timeOf(cost, rate)
  if math.abs(bucket.ahead - acts) < ${SAME} and before > -${SAME} then bucket.ahead = before end
end
bucket.tokens = math.min(burst, bucket.tokens + restored)
store(KEYS[1], bucket, -restored)
`

/**
 * One script does both, so that Redis knows it when tokens come back. A script of its own would be sent a second time,
 * by its text, and what follows on the connection would come before it.
 */
export const script = `${prelude}
if ARGV[#ARGV] == 'back' then
${giveBack}
return
end
${take}`
