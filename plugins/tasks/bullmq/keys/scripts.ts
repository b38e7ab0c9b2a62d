/** The scripts by which Redis keeps the lines of keys: see KeyPermits. Each is atomic, and all keys lie on one node. */
import { Script } from '../../../redis.ts'

/**
 * Returns 1 if the job has a permit now, 0 if its key has none left, and -1 if the caller has lost the job's lock.
 * KEYS: permits, line, parked, the job's lock. ARGV: job, token, perKey.
 */
export const BEGIN = new Script(`
if redis.call('GET', KEYS[4]) ~= ARGV[2] then return -1 end
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 1 then return 1 end
if redis.call('SCARD', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
return 1`)

/**
 * Changes the line of a key, gives free permits to the first in it, and returns those: they are to be promoted.
 * KEYS: permits, line, parked, keys, delayed. ARGV: key, perKey, the prefix of jobs, what to do, job, token.
 *
 * 'park' and 'park first' put a delayed job in line; first are those that had a turn. 'end' takes back the permit,
 * unless another process has the job by now, and the place in line of a job that was removed. 'sweep' takes back
 * permits of jobs that have ended, and also returns the jobs that have a permit and were not promoted. A key is known,
 * with the time of its last sweep, while it has a permit or a line: a busy key is swept as often as one that nobody
 * uses, since its permits may be lost as well.
 *
 * At most 1,000 jobs are taken from the line: all but the promoted are gone, or have been put in line by others.
 */
export const PASS_ON = new Script(`
local permits, line, parked, keys, delayed = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local key, perKey, prefix, what, job, token = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local promoted = {}
if what == 'end' then
  local lock = redis.call('GET', prefix .. job .. ':lock')
  if not lock or lock == token then redis.call('SREM', permits, job) end
  if redis.call('EXISTS', prefix .. job) == 0 then
    redis.call('ZREM', line, job)
    redis.call('ZREM', parked, job)
  end
elseif what == 'sweep' then
  for _, id in ipairs(redis.call('SMEMBERS', permits)) do
    local ended = redis.call('EXISTS', prefix .. id) == 0 or redis.call('HEXISTS', prefix .. id, 'finishedOn') == 1
    if ended then redis.call('SREM', permits, id)
    elseif redis.call('ZSCORE', delayed, id) then promoted[#promoted + 1] = id end
  end
elseif redis.call('ZSCORE', delayed, job) and redis.call('SISMEMBER', permits, job) == 0 then
  redis.call('ZADD', line, 'NX', string.format('%.0f', what == 'park' and now or now - 2^52), job)
  redis.call('ZADD', parked, 'NX', string.format('%.0f', now), job)
end
for _ = 1, 1000 do
  if redis.call('SCARD', permits) >= perKey then break end
  local first = redis.call('ZPOPMIN', line)[1]
  if not first then break end
  redis.call('ZREM', parked, first)
  if redis.call('ZSCORE', delayed, first) then
    redis.call('SADD', permits, first)
    promoted[#promoted + 1] = first
  end
end
if redis.call('EXISTS', permits, line) == 0 then redis.call('ZREM', keys, key)
elseif what == 'sweep' then redis.call('ZADD', keys, now, key)
else redis.call('ZADD', keys, 'NX', now, key) end
return promoted`)

/** Returns the keys that were not swept for some ms, the longest first. KEYS: keys. ARGV: ms, how many. */
export const UNSWEPT = new Script(`
local time = redis.call('TIME')
local before = time[1] * 1000000 + time[2] - ARGV[1] * 1000
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', before), 'LIMIT', 0, ARGV[2])`)

/**
 * Returns how many jobs are parked, and for how many ms the first of them. Jobs that BullMQ has put in line since, as
 * their delay was over, are found among the first 1,000 only: see KeyPermits.count(). KEYS: parked, delayed.
 */
export const COUNT = new Script(`
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local first = redis.call('ZRANGE', KEYS[1], 0, 999, 'WITHSCORES')
local count, since = redis.call('ZCARD', KEYS[1]), now
for at = 1, #first, 2 do
  if redis.call('ZSCORE', KEYS[2], first[at]) then since = math.min(since, tonumber(first[at + 1]))
  else count = count - 1 end
end
return { count, math.floor((now - since) / 1000) }`)

/**
 * Reads some members of a sorted set, and returns how many there were; and, with their scores, those that are members
 * of another one, or those that aren't. KEYS: the set, the other one. ARGV: first, last, whether they are to be
 * members.
 */
export const READ = new Script(`
local read = redis.call('ZRANGE', KEYS[1], ARGV[1], ARGV[2], 'WITHSCORES')
local found = {}
for at = 1, #read, 2 do
  if (redis.call('ZSCORE', KEYS[2], read[at]) and '1' or '0') == ARGV[3] then
    found[#found + 1] = read[at]
    found[#found + 1] = read[at + 1]
  end
end
return { #read / 2, found }`)
