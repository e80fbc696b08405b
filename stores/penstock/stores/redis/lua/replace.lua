-- Put a row in the place of another one, if that is the one that was read, or has a lower stamp. One value and what
-- remains of it: both keys share a hash slot.
--
-- KEYS 1 the value's hash, 2 the hash of what remains of it
-- ARGV 1 the stamp that was read, '' for none, '<' for any that is below the row's, 2 the row's stamp, 3 when it was
--      made first (us since 1970), 4 when the value expires (ms since 1970), '' for never, 5 how long what remains is kept
--      (ms), '' for no need of it, 6 how many of the rest are fields and values of the value's hash, 0 for a deletion,
--      then those, then those of the other hash
-- Returns 1, or 0 when another stamp is there.
--
-- Repeated after a lost answer it returns 0: the stamp is the row's by then.

local function below(one, other)
  -- Byte by byte: `<` goes by the server's locale.
  if #one ~= #other then
    return #one < #other
  end
  for i = 1, #one do
    local a, b = string.byte(one, i), string.byte(other, i)
    if a ~= b then
      return a < b
    end
  end
  return false
end

local held = redis.call('HGET', KEYS[1], 'stamp') or redis.call('HGET', KEYS[2], 'stamp') or ''
local made = nil
if ARGV[1] == '<' then
  if held ~= '' then
    if not below(held, ARGV[2]) then
      return 0
    end
    made = redis.call('HGET', KEYS[1], 'created') or redis.call('HGET', KEYS[2], 'created')
  end
elseif held ~= ARGV[1] then
  return 0
end

if held ~= '' then
  redis.call('DEL', KEYS[1], KEYS[2])
end
local last = 6 + tonumber(ARGV[6])
if last > 6 then
  redis.call('HSET', KEYS[1], unpack(ARGV, 7, last))
end
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[2], unpack(ARGV, last + 1))
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
if made and below(made, ARGV[3]) then
  for k = 1, 2 do
    if redis.call('EXISTS', KEYS[k]) == 1 then
      redis.call('HSET', KEYS[k], 'created', made)
    end
  end
end
if last > 6 and ARGV[4] ~= '' then
  redis.call('PEXPIREAT', KEYS[1], ARGV[4])
end
return 1
