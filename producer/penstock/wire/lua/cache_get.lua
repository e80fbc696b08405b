-- Look for an answer, and decide who asks the store where there is none.
--
-- KEYS 1 what is kept of one subject (hash)
-- ARGV 1 the question, 2 a token nobody else has, 3 how long (ms) who asks is waited for, 4 how long (ms) a token lasts
-- Returns {answer or ''; the subject's token; 1 for who has to ask, else 0}.
--
-- Forgetting a subject deletes its hash, token and all: an answer from before comes with a token that is gone.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = redis.call('HMGET', KEYS[1], 'token', 'a' .. ARGV[1], 'until' .. ARGV[1], 'asked' .. ARGV[1])
if found[2] and tonumber(found[3]) > now then
  return {found[2], found[1], 0}
end
if found[4] and tonumber(found[4]) > now then
  return {'', found[1], 0}
end
local token = found[1] or ARGV[2]
redis.call('HSET', KEYS[1], 'token', token, 'asked' .. ARGV[1], now + tonumber(ARGV[3]))
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return {'', token, 1}
