-- flags: allow-oom
-- Which streams of a partition are to be settled.
--
-- KEYS 1 open, 2 stuck
-- ARGV 1 open ones without news since this (ms), 2 stuck ones since this, 3 how many of each may stay,
--      4 most to return of each
-- Returns {{open stream ids}, {stuck stream ids}, 1 when more than these are due}, each the idlest first.
local more = 0
local function due(key, since)
  local count = math.max(redis.call('ZCARD', key) - tonumber(ARGV[3]), redis.call('ZCOUNT', key, '-inf', since))
  if count > tonumber(ARGV[4]) then
    count, more = tonumber(ARGV[4]), 1
  end
  return count > 0 and redis.call('ZRANGE', key, 0, count - 1) or {}
end
return {due(KEYS[1], ARGV[1]), due(KEYS[2], ARGV[2]), more}
