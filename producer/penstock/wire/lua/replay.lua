-- Send a dead letter through the log again, under its own record id.
-- KEYS 1 dead, 2 dead index, 3 log, 4 meta. ARGV 1 the letter's entry id, 2 record id, 3 count, 4 frame.
-- Returns {1 when it was there; generation to ring, or 0}.
if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then
  return {0, 0}
end
if redis.call('HGET', KEYS[2], ARGV[2]) == ARGV[1] then
  redis.call('HDEL', KEYS[2], ARGV[2]) -- else a later letter of the same record is the one to find
end
redis.call('XADD', KEYS[3], '*', 'f', ARGV[4], 'n', ARGV[3])
redis.call('HINCRBY', KEYS[4], 'dead', -tonumber(ARGV[3]))
redis.call('HINCRBY', KEYS[4], 'pending', ARGV[3])
if redis.call('HGET', KEYS[4], 'armed') == '1' then
  return {1, 0}
end
redis.call('HSET', KEYS[4], 'armed', '1')
return {1, redis.call('HINCRBY', KEYS[4], 'gen', 1)}
