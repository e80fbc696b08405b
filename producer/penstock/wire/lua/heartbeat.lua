-- flags: allow-oom
-- Say that a worker lives, and forget those that do not.
-- KEYS 1 workers. ARGV 1 worker id, 2 life (ms), 0 to say goodbye. Returns {how many live, now (ms)}.
--
-- By the clock of the server: one worker's may be an hour off, and it would be dead to the others or outlive itself.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[2] == '0' then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
return {redis.call('ZCARD', KEYS[1]), now}
