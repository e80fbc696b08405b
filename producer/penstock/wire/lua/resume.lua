-- flags: allow-oom
-- Let a lane be drained again.
-- KEYS 1 lanes. ARGV 1 lane, 2 so many records may then be buried before any count again. Returns the halt, or ''.
local halt = redis.call('HGET', KEYS[1], ARGV[1] .. ':halt')
if not halt then
  return ''
end
redis.call('HDEL', KEYS[1], ARGV[1] .. ':halt')
redis.call('HINCRBY', KEYS[1], ARGV[1] .. ':resumed', 1)
redis.call('HSET', KEYS[1], ARGV[1] .. ':bury', ARGV[2])
return halt
