-- flags: allow-oom
-- Remove a dead letter for good. It stays counted, as purged.
--
-- KEYS 1 dead, 2 dead index, 3 meta, 4 replays, 5 imported
-- ARGV 1 the letter's entry id, 2 record id, 3 count, 4 note of what became of its last replay ('' it had none),
--      5 notes kept, 6 mark of an imported letter ('' none)
-- Returns 1 when it was there.
local trace = ''
for _, letter in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])) do
  for f = 1, #letter[2], 2 do
    trace = letter[2][f] == 'p' and letter[2][f + 1] or trace
  end
end
if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then
  return 0
end
if redis.call('HGET', KEYS[2], ARGV[2]) == ARGV[1] then
  redis.call('HDEL', KEYS[2], ARGV[2]) -- else a later letter of the same record is the one to find
end
if redis.call('HGET', KEYS[2], trace) == ARGV[1] then
  redis.call('HDEL', KEYS[2], trace)
end
if ARGV[6] ~= '' then
  redis.call('HDEL', KEYS[5], ARGV[6])
end
if ARGV[4] ~= '' then
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[5], '*', 'i', ARGV[2], 'l', '', 'e', ARGV[4])
end
redis.call('HINCRBY', KEYS[3], 'dead', -tonumber(ARGV[3]))
redis.call('HINCRBY', KEYS[3], 'purged', ARGV[3])
return 1
