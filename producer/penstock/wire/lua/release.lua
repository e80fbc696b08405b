-- flags: allow-oom
-- Give a lease back.
--
-- KEYS 1 lease, 2 meta, 3 log
-- ARGV 1 epoch, 2 what for: "done" (ring again if records are left), "retry" (count a failure, its caller defers) or
--      "wait" (the caller sees to the next try)
-- Returns {generation to ring, or 0; failures in a row}; {-1, 0} when the lease was already lost.
--
-- Disarming and the look at the log are one step, as arming and appending are in push: no wake-up is lost.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {-1, 0}
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[2], 'head', '', 'stall', 0)
if ARGV[2] == 'retry' then
  return {0, redis.call('HINCRBY', KEYS[2], 'fails', 1)}
end
if ARGV[2] == 'wait' then
  return {0, tonumber(redis.call('HGET', KEYS[2], 'fails') or 0)}
end
if redis.call('XLEN', KEYS[3]) == 0 then
  redis.call('HSET', KEYS[2], 'armed', '0')
  return {0, 0}
end
return {redis.call('HINCRBY', KEYS[2], 'gen', 1), 0}
