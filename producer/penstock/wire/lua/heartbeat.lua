-- flags: allow-oom
-- Say that a worker lives, and forget those that do not.
-- KEYS 1 workers. ARGV 1 worker id, 2 now (ms), 3 life (ms), 0 to say goodbye. Returns how many live.
if ARGV[3] == '0' then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], tonumber(ARGV[2]) + tonumber(ARGV[3]), ARGV[1])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[2])
return redis.call('ZCARD', KEYS[1])
