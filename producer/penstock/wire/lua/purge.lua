-- flags: allow-oom
-- Remove a dead letter for good. It stays counted, as purged.
-- KEYS 1 dead, 2 dead index, 3 meta. ARGV 1 the letter's entry id, 2 record id, 3 count. Returns 1 when it was there.
if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then
  return 0
end
if redis.call('HGET', KEYS[2], ARGV[2]) == ARGV[1] then
  redis.call('HDEL', KEYS[2], ARGV[2]) -- else a later letter of the same record is the one to find
end
redis.call('HINCRBY', KEYS[3], 'dead', -tonumber(ARGV[3]))
redis.call('HINCRBY', KEYS[3], 'purged', ARGV[3])
return 1
