-- Keep an answer, unless its subject was forgotten since it was asked for.
--
-- KEYS 1 what is kept of one subject (hash)
-- ARGV 1 the question, 2 the token it was asked under, 3 the answer, 4 how long (ms) it is good, 5 most answers,
--      6 most bytes
-- Returns 1, or 0 when it was not kept. A subject with too many answers, most of them old, begins anew.
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[2] then
  return 0
end
redis.call('HDEL', KEYS[1], 'asked' .. ARGV[1])
local kept = redis.call('HINCRBY', KEYS[1], 'bytes', #ARGV[3])
if redis.call('HLEN', KEYS[1]) > 2 * tonumber(ARGV[5]) or kept > tonumber(ARGV[6]) then
  redis.call('UNLINK', KEYS[1])
  return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'a' .. ARGV[1], ARGV[3], 'until' .. ARGV[1], now + tonumber(ARGV[4]))
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return 1
