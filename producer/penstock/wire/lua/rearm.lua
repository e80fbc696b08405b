-- flags: allow-oom
-- Take the next generation, unless somebody else took it or holds the lease.
-- KEYS 1 lease, 2 meta. ARGV 1 the generation that was seen. Returns the new one, or 0.
if redis.call('EXISTS', KEYS[1]) == 1 or (redis.call('HGET', KEYS[2], 'gen') or '0') ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[2], 'armed', '1')
return redis.call('HINCRBY', KEYS[2], 'gen', 1)
