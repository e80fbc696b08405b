-- Look whether a partition needs a drain that nobody holds.
--
-- KEYS 1 lease, 2 meta, 3 log, 4 open, 5 stuck
-- ARGV 1 a stream whose last news is older than this (ms) has timed out, 2 one that is stuck for longer is given up
-- Returns {1 when it needs one, generation}.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return {0, 0}
end
if redis.call('XLEN', KEYS[3]) == 0 and redis.call('ZCOUNT', KEYS[4], '-inf', ARGV[1]) == 0
    and redis.call('ZCOUNT', KEYS[5], '-inf', ARGV[2]) == 0 then
  return {0, 0}
end
return {1, tonumber(redis.call('HGET', KEYS[2], 'gen') or 0)}
