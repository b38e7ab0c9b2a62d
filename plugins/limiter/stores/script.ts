/**
 * The bucket in Lua, as it runs inside Redis or Valkey: one round trip decides on all policies of a stage, atomically, by one clock.
 *
 * Numbers come and go as text, since Redis cuts a Lua number in a reply down to a whole one. A value that isn't ours, or is of another
 * type,
 * counts as a full bucket and is written over: one odd key must not take the limiter away from everybody.
 *
 * A bucket is written as its tokens, the time of that count, and how many ms later the bucket may be forgotten. That isn't when its own
 * burst
 * is there again: where requests of one key differ in burst, the smaller burst would free the key from the larger one.
 */
import { SLACK } from './bucket.ts'

/**
 * The largest step back of the server's clock, in ms, that buckets wait out; it happens by hand, or by a failover to a machine whose clock
 * is
 * behind. After a small step nothing flows until the clock is where it was, and waits say so. After a larger step the buckets start again
 * from the new time: otherwise every limited key would be refused for as long as the step.
 */
const STEP = 10_000
/** The longest life of a key, in ms. Redis refuses lives that its clock can't hold; thirty thousand years are enough. */
const LONGEST = 1e15

const prelude = `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000

local function load(key, rate, burst)
  local state = redis.pcall('GET', key)
  if type(state) ~= 'string' then return burst, now, 0 end
  local tokens, at, left = string.match(state, '^(%S+) (%S+) ?(%S*)$')
  tokens, at, left = tonumber(tokens), tonumber(at), tonumber(left) or 0
  if not tokens or not at or not (tokens > -math.huge) then return burst, now, 0 end
  if at > now + ${STEP} then at = now end
  if now <= at then return math.min(burst, tokens), at, left end
  return math.min(burst, tokens + (now - at) * rate / 1000), now, math.max(0, left - (now - at))
end

local function store(key, tokens, at, left, spent, rate, burst)
  left = math.max(math.max(0, burst - tokens) * 1000 / rate, left + spent * 1000 / rate)
  local life = math.ceil(at - now + left) + 1
  redis.call('SET', key, string.format('%.17g %.17g %.17g', tokens, at, left), 'PX', string.format('%.0f', math.min(life, ${LONGEST})))
end
`

/**
 * KEYS: one for each charge. ARGV: maxWait, then rate, burst and cost of each.
 * Returns one text, which is quicker to parse than a list: granted (1 or 0), now, then tokens and wait of each.
 */
export const take = `${prelude}
local maxWait = tonumber(ARGV[1])
local granted = 1
local tokens, at, left, wait = {}, {}, {}, {}
for i, key in ipairs(KEYS) do
  local rate, burst, cost = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
  tokens[i], at[i], left[i] = load(key, rate, burst)
  local missing = cost - tokens[i]
  wait[i] = missing <= ${SLACK} and 0 or at[i] - now + missing * 1000 / rate
  if wait[i] > maxWait then granted = 0 end
end
local reply = { string.format('%d %.17g', granted, now) }
for i, key in ipairs(KEYS) do
  local cost = tonumber(ARGV[3 * i + 1])
  if granted == 1 and cost > 0 then
    tokens[i] = tokens[i] - cost
    store(key, tokens[i], at[i], left[i], cost, tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]))
  end
  reply[i + 1] = string.format('%.17g %.17g', tokens[i], wait[i])
end
return table.concat(reply, ' ')
`

/**
 * KEYS: the bucket. ARGV: rate, burst, cost, and when the reservation was to act. Returns the tokens restored, as text. See giveBack in
 * bucket.ts.
 */
export const giveBack = `${prelude}
local rate, burst, cost, actsAt = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if actsAt < now or redis.call('EXISTS', KEYS[1]) == 0 then return '0' end
local tokens, at, left = load(KEYS[1], rate, burst)
local lastActsAt = at + math.max(0, -tokens) * 1000 / rate
local restored = math.min(cost, cost - (lastActsAt - actsAt) * rate / 1000)
if restored <= 0 then return '0' end
store(KEYS[1], math.min(burst, tokens + restored), at, left, -restored, rate, burst)
return string.format('%.17g', restored)
`
