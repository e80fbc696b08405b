-- Put a row in the place of the one that was read, unless somebody was faster. One value and what remains of it: both
-- keys share a hash slot.
--
-- KEYS 1 the value's hash, 2 the hash of what remains of it
-- ARGV 1 the stamp that was read, '' for none, 2 when the value expires (ms since 1970), '' for never, 3 how long what
--      remains is kept (ms), '' for no need of it, 4 how many of the rest are fields and values of the value's hash,
--      0 for a deletion, then those, then those of the other hash
-- Returns 1, or 0 when another stamp is there.
--
-- Repeated after a lost answer it returns 0: the stamp is the new one by then.
local held = redis.call('HGET', KEYS[1], 'stamp') or redis.call('HGET', KEYS[2], 'stamp') or ''
if held ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1], KEYS[2])
local last = 4 + tonumber(ARGV[4])
if last > 4 then
  redis.call('HSET', KEYS[1], unpack(ARGV, 5, last))
  if ARGV[2] ~= '' then
    redis.call('PEXPIREAT', KEYS[1], ARGV[2])
  end
end
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[2], unpack(ARGV, last + 1))
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
return 1
