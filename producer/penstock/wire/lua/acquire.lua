-- flags: allow-oom
-- Take the lease of a partition, if nobody has it.
--
-- KEYS 1 lease, 2 meta, 3 log
-- ARGV 1 ttl (ms), 2 floor: the highest epoch that a store is known to have seen
-- Returns {epoch, or 0 when it is taken; stall; fails}.
--
-- stall: how many owners in a row died without committing the entry that is the head now.
--
-- Epochs follow the clock, so that a new primary does not give one again that was lost with the old one: two owners
-- under one epoch would both be let in. They rise even where the clock goes back.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return {0, 0, 0}
end
local known = tonumber(redis.call('HGET', KEYS[2], 'epoch') or 0)
local time = redis.call('TIME')
local epoch = math.max(known + 1, tonumber(ARGV[2]) + 1, time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('SET', KEYS[1], epoch, 'PX', ARGV[1])
local first = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)
local head = first[1] and first[1][1] or ''
local stall = 0
if head ~= '' and redis.call('HGET', KEYS[2], 'head') == head then
  stall = redis.call('HINCRBY', KEYS[2], 'stall', 1)
  redis.call('HSET', KEYS[2], 'epoch', epoch)
else
  redis.call('HSET', KEYS[2], 'epoch', epoch, 'head', head, 'stall', 0)
end
return {epoch, stall, tonumber(redis.call('HGET', KEYS[2], 'fails') or 0)}
