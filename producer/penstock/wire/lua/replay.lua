-- Send a dead letter through the log again, under its own record id.
--
-- KEYS 1 dead, 2 dead index, 3 log, 4 meta, 5 replays, 6 imported
-- ARGV 1 the letter's entry id, 2 record id, 3 count, 4 frame, 5 what the record carries on ('' nothing),
--      6 note of the replay ('' none), 7 notes kept, 8 mark of an imported letter ('' none)
-- Returns {1 when it was there; generation to ring, or 0}.
local trace = ''
for _, letter in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])) do
  for f = 1, #letter[2], 2 do
    trace = letter[2][f] == 'p' and letter[2][f + 1] or trace
  end
end
if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then
  return {0, 0}
end
if redis.call('HGET', KEYS[2], ARGV[2]) == ARGV[1] then
  redis.call('HDEL', KEYS[2], ARGV[2]) -- else a later letter of the same record is the one to find
end
if ARGV[8] ~= '' then
  redis.call('HDEL', KEYS[6], ARGV[8])
end
local at = redis.call('XADD', KEYS[3], '*', 'f', ARGV[4], 'n', ARGV[3], 'h', ARGV[5], 'p', trace)
local found = trace ~= '' and (redis.call('HGET', KEYS[2], trace) or ARGV[1])
if found == ARGV[1] or found and string.byte(found) == 62 then
  -- Who waits for the record learns that it is on its way again, unless another letter of it stays behind.
  redis.call('HSET', KEYS[2], trace, '>' .. at)
end
if ARGV[6] ~= '' then
  redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[7], '*', 'i', ARGV[2], 'l', at, 'e', ARGV[6])
end
redis.call('HINCRBY', KEYS[4], 'dead', -tonumber(ARGV[3]))
redis.call('HINCRBY', KEYS[4], 'pending', ARGV[3])
if redis.call('HGET', KEYS[4], 'armed') == '1' then
  return {1, 0}
end
redis.call('HSET', KEYS[4], 'armed', '1')
return {1, redis.call('HINCRBY', KEYS[4], 'gen', 1)}
