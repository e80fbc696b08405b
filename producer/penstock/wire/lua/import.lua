-- Take in a dead letter from a file, unless it is here. It counts as accepted and as dead.
--
-- KEYS 1 dead, 2 dead index, 3 meta, 4 imported
-- ARGV 1 record id, 2 count, 3 record, 4 envelope, 5 entry id of the letter where it was buried, 6 mark of the letter
-- Returns 1, or 0 when it is here: as it was buried, or as somebody imported or edited it.
local known = redis.call('HGET', KEYS[4], ARGV[6])
if known and #redis.call('XRANGE', KEYS[1], known, known) == 1 then
  return 0
end
local same = redis.call('XRANGE', KEYS[1], ARGV[5], ARGV[5])[1]
if same then
  local found = {}
  for f = 1, #same[2], 2 do
    found[same[2][f]] = same[2][f + 1]
  end
  if found['i'] == ARGV[1] and found['r'] == ARGV[3] and found['e'] == ARGV[4] then
    return 0
  end
end
local newest = redis.call('HGET', KEYS[2], ARGV[1])
local letter = {'i', ARGV[1], 'n', ARGV[2], 'r', ARGV[3], 'e', ARGV[4], 'd', ARGV[6], 'o', ARGV[5]}
local at = redis.call('XADD', KEYS[1], '*', unpack(letter))
redis.call('HSET', KEYS[4], ARGV[6], at)
if not newest or #redis.call('XRANGE', KEYS[1], newest, newest) == 0 then
  redis.call('HSET', KEYS[2], ARGV[1], at) -- else the record has died here since
end
redis.call('HINCRBY', KEYS[3], 'accepted', ARGV[2])
redis.call('HINCRBY', KEYS[3], 'dead', ARGV[2])
return 1
