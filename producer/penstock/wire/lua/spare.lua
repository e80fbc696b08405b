-- flags: allow-oom
-- Take of a lane's allowance of records that may be buried. KEYS 1 lanes. ARGV 1 lane, 2 at most. Returns how many.
local left = tonumber(redis.call('HGET', KEYS[1], ARGV[1] .. ':bury') or 0)
local taken = math.min(left, tonumber(ARGV[2]))
if taken > 0 then
  redis.call('HINCRBY', KEYS[1], ARGV[1] .. ':bury', -taken)
end
return math.max(0, taken)
