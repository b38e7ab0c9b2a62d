/** The scripts by which Redis keeps the lines of keys: see KeyPermits. Each is atomic, and all keys lie on one node. */
import { Script } from '../../../redis.ts'

/**
 * Returns 1 if the job has a permit now, 0 if its key has none left, and -1 if the caller has lost the job's lock.
 * KEYS: permits, parked, the job's lock. ARGV: job, token, perKey.
 */
export const BEGIN = new Script(`
if redis.call('GET', KEYS[3]) ~= ARGV[2] then return -1 end
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 1 then return 1 end
if redis.call('SCARD', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1`)

/**
 * Changes the line of a key, gives free permits to the first in it, and returns those: they are to be promoted.
 * KEYS: permits, parked, keys, delayed. ARGV: key, perKey, the prefix of jobs, what to do, job, token.
 *
 * 'park' and 'park first' put a delayed job in line; first are those that had a turn. 'end' takes back the permit,
 * unless another process has the job by now. 'sweep' takes back permits of jobs that have ended, and also returns the
 * jobs that have a permit and were not promoted. A key is known, with the time of its last sweep, while it has a
 * permit or a line: a busy key is swept as often as one that nobody uses, since its permits may be lost as well.
 *
 * At most 1,000 jobs are taken from the line: all but the promoted are gone, or have been put in line by others.
 */
export const PASS_ON = new Script(`
local permits, parked, keys, delayed = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local key, perKey, prefix, what, job, token = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local promoted = {}
if what == 'end' then
  local lock = redis.call('GET', prefix .. job .. ':lock')
  if not lock or lock == token then redis.call('SREM', permits, job) end
elseif what == 'sweep' then
  for _, id in ipairs(redis.call('SMEMBERS', permits)) do
    local ended = redis.call('EXISTS', prefix .. id) == 0 or redis.call('HEXISTS', prefix .. id, 'finishedOn') == 1
    if ended then redis.call('SREM', permits, id)
    elseif redis.call('ZSCORE', delayed, id) then promoted[#promoted + 1] = id end
  end
elseif redis.call('ZSCORE', delayed, job) and redis.call('SISMEMBER', permits, job) == 0 then
  redis.call('ZADD', parked, 'NX', string.format('%.0f', what == 'park' and now or now - 2^52), job)
end
for _ = 1, 1000 do
  if redis.call('SCARD', permits) >= perKey then break end
  local first = redis.call('ZPOPMIN', parked)[1]
  if not first then break end
  if redis.call('ZSCORE', delayed, first) then
    redis.call('SADD', permits, first)
    promoted[#promoted + 1] = first
  end
end
if redis.call('EXISTS', permits, parked) == 0 then redis.call('ZREM', keys, key)
elseif what == 'sweep' then redis.call('ZADD', keys, now, key)
else redis.call('ZADD', keys, 'NX', now, key) end
return promoted`)

/** Returns the keys that were not swept for some ms, the longest first. KEYS: keys. ARGV: ms, how many. */
export const UNSWEPT = new Script(`
local time = redis.call('TIME')
local before = time[1] * 1000000 + time[2] - ARGV[1] * 1000
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', before), 'LIMIT', 0, ARGV[2])`)

/** Returns how many jobs are parked, and for how many ms the first of them. KEYS: keys. ARGV: the prefix of lines. */
export const COUNT = new Script(`
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local count, oldest = 0, now
for _, key in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  count = count + redis.call('ZCARD', ARGV[1] .. key)
  local since = tonumber(redis.call('ZRANGE', ARGV[1] .. key, 0, 0, 'WITHSCORES')[2] or now)
  if since < 0 then since = since + 2^52 end
  oldest = math.min(oldest, since)
end
return { count, math.floor((now - oldest) / 1000) }`)
