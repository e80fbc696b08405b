-- Append frames to a partition's log and arm it.
--
-- KEYS 1 log, 2 meta, 3 seen
-- ARGV 1 cap (records), 2 push number of this producer, 3 life of `seen` (ms), then count, frame, count, frame, ...
-- Returns {generation to ring, or 0; entry id of the last frame}, or the error PENSTOCK_FULL.
--
-- Safe to repeat: a push number that was already appended appends nothing and returns where it lies.
local seen = redis.call('GET', KEYS[3])
if seen then
  local bar = string.find(seen, '|', 1, true)
  if tonumber(string.sub(seen, 1, bar - 1)) >= tonumber(ARGV[2]) then
    return {0, string.sub(seen, bar + 1)}
  end
end

local counts = redis.call('HMGET', KEYS[2], 'pending', 'buffered', 'armed')
local held = tonumber(counts[1] or 0) + tonumber(counts[2] or 0)
if held >= tonumber(ARGV[1]) then
  return redis.error_reply('PENSTOCK_FULL ' .. held)
end

local last
local added = 0
for i = 4, #ARGV, 2 do
  last = redis.call('XADD', KEYS[1], '*', 'f', ARGV[i + 1], 'n', ARGV[i])
  added = added + tonumber(ARGV[i])
end
redis.call('SET', KEYS[3], ARGV[2] .. '|' .. last, 'PX', ARGV[3])
redis.call('HINCRBY', KEYS[2], 'accepted', added)
redis.call('HINCRBY', KEYS[2], 'pending', added)
if counts[3] == '1' then
  return {0, last}
end
redis.call('HSET', KEYS[2], 'armed', '1')
return {redis.call('HINCRBY', KEYS[2], 'gen', 1), last}
