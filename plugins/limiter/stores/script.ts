/**
 * The token bucket in Lua, as it runs inside Redis or Valkey. One call carries out several operations of a turn of the
 * event loop, in order and by one clock, since each call has costs of its own in Redis and in Node.
 *
 * Numbers are returned as text, because Redis truncates a Lua number in a reply to an integer. They are stored as they are in memory,
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

const buckets = `
-- A local is found sooner than a field of a global table.
local call, tryCall, pack, unpackStruct = redis.call, redis.pcall, struct.pack, struct.unpack
local floor, ceil, max, min, abs, format = math.floor, math.ceil, math.max, math.min, math.abs, string.format

local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000

local function timeOf(tokens, rate)
  return floor(1e9 * (tokens / rate)) / 1e6
end

local function load(key, rate, burst, cost)
  local state = tryCall('GET', key)
  local tokens, at, left, ahead, refusals, lockedUntil = burst, now, 0, 0, 0, 0
  if type(state) == 'string' and (#state == 33 or #state == 49) and string.byte(state) == ${FORMAT} then
    tokens, at, left, ahead = unpackStruct('<dddd', state, 2)
    if #state == 49 then refusals, lockedUntil = unpackStruct('<dd', state, 34) end
    -- NaN is not the script's, and of the numbers only the time left may be infinite.
    local sum = tokens + at + ahead + refusals + lockedUntil
    if sum - sum ~= 0 or left ~= left then tokens, at, left, ahead, refusals, lockedUntil = burst, now, 0, 0, 0, 0 end
    if at > now + ${MAX_CLOCK_STEP_MS} then at = now end
    local passed = now - at
    if passed > 0 then
      tokens, at, left, ahead = tokens + passed / 1000 * rate, now, max(0, left - passed), ahead - passed
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
  local rate, tokens, at, lockedUntil = bucket.rate, bucket.tokens, bucket.at, bucket.lockedUntil
  local left = max((bucket.burst - tokens) * 1000 / rate, bucket.left + spent * 1000 / rate)
  local life = ceil(max(at - now + left, lockedUntil - now)) + 1
  local state = pack('<bdddd', ${FORMAT}, tokens, at, left, bucket.ahead)
  if bucket.refusals > 0 or lockedUntil > now then state = state .. pack('<dd', bucket.refusals, lockedUntil) end
  call('SET', key, state, 'PX', min(life, ${LONGEST}))
end
`

/** Grants all charges, or none. See Store.take. */
const take = `
local function take(charges, firstKey, operation)
  local maxWait = operation[1]
  local granted = 1
  local buckets = {}
  for i = 1, charges do
    local rate, burst, cost, _, duration = unpack(operation, 5 * i - 3, 5 * i + 1)
    local bucket = load(KEYS[firstKey + i], rate, burst, cost)
    local missing = cost - bucket.tokens
    if missing > ${SLACK} then bucket.wait = bucket.at - now + timeOf(missing, rate) end
    -- After the clock was set back, a lockout takes no longer than it did at first.
    if bucket.lockedUntil > now then bucket.locked = min(duration, bucket.lockedUntil - now) end
    if bucket.wait > maxWait or bucket.locked > 0 then granted = 0 end
    buckets[i] = bucket
  end
  add(granted)
  for i, bucket in ipairs(buckets) do
    local cost, wait, locked, after = bucket.cost, bucket.wait, bucket.locked, operation[5 * i]
    if locked > 0 then
      bucket.tokens = min(0, bucket.tokens)
      wait = max(wait, locked)
    elseif wait > maxWait and cost > 0 and after > 0 then
      bucket.refusals = bucket.refusals + 1
      if bucket.refusals >= after then
        locked = operation[5 * i + 1]
        bucket.refusals, bucket.lockedUntil = 0, now + locked
        wait = max(wait, locked)
      end
      store(KEYS[firstKey + i], bucket, 0)
    elseif granted == 1 and cost > 0 then
      bucket.tokens, bucket.ahead = bucket.tokens - cost, wait - (bucket.at - now)
      store(KEYS[firstKey + i], bucket, cost)
    end
    if wait == 0 then
      add(format('%.17g 0 0', bucket.tokens))
    else
      add(format('%.17g %.17g %d', bucket.tokens, wait, locked > 0 and 1 or 0))
    end
  end
end
`

/** See giveBack and refund in bucket.ts. */
const giveBack = `
local function giveBack(what, key, rate, burst, cost, takenAt, left)
  if call('EXISTS', key) == 0 then return end
  local bucket = load(key, rate, burst, cost)
  local restored
  if what == 'refund' then
    restored = min(cost, burst - left - (bucket.at - takenAt) / 1000 * rate)
    if restored <= 0 then return end
  else
    local acts = left - (bucket.at - takenAt)
    restored = cost - (bucket.ahead - acts) / 1000 * rate
    if acts <= -${SAME} or restored <= 0 then return end
    local before = acts - timeOf(cost, rate)
    if abs(bucket.ahead - acts) < ${SAME} and before > -${SAME} then bucket.ahead = before end
  end
  bucket.tokens = min(burst, bucket.tokens + restored)
  store(key, bucket, -restored)
end
`

/**
 * KEYS: one for each charge, in the order of the operations. ARGV[1]: the operations in JSON, see Operation in redis-store.ts.
 * Returns one text, which is quicker to parse than a list: the seconds and microseconds of the server's clock; then for
 * each `take` whether it was granted (1 or 0), and tokens, wait and locked out (1 or 0) of each charge.
 */
export const script = `
${buckets}
local reply = {time[1], time[2]}
local function add(text) reply[#reply + 1] = text end
${take}
${giveBack}
local keys = 0
for _, operation in ipairs(cjson.decode(ARGV[1])) do
  if type(operation[1]) == 'string' then
    giveBack(operation[1], KEYS[keys + 1], unpack(operation, 2))
    keys = keys + 1
  else
    local charges = (#operation - 1) / 5
    take(charges, keys, operation)
    keys = keys + charges
  end
end
return table.concat(reply, ' ')
`
