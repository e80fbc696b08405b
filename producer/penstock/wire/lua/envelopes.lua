-- The envelopes of the newest dead letters of some records.
-- KEYS 1 dead, 2 dead index. ARGV record ids. Returns {id, envelope, id, envelope, ...} of those that have one.
local found = {}
for _, id in ipairs(ARGV) do
  local at = redis.call('HGET', KEYS[2], id)
  for _, letter in ipairs(at and redis.call('XRANGE', KEYS[1], at, at) or {}) do
    for f = 1, #letter[2], 2 do
      if letter[2][f] == 'e' then
        found[#found + 1] = id
        found[#found + 1] = letter[2][f + 1]
      end
    end
  end
end
return found
