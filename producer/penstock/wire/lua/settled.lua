-- How far a partition is settled, and which of some records are dead letters.
-- KEYS 1 meta, 2 dead, 3 dead index. ARGV record ids. Returns {last settled entry id, {id, envelope, id, envelope, ...}}.
local dead = {}
for _, id in ipairs(ARGV) do
  local at = redis.call('HGET', KEYS[3], id)
  if at then
    local letter = redis.call('XRANGE', KEYS[2], at, at)[1]
    if letter then
      for f = 1, #letter[2], 2 do
        if letter[2][f] == 'e' then
          dead[#dead + 1] = id
          dead[#dead + 1] = letter[2][f + 1]
        end
      end
    end
  end
end
return {redis.call('HGET', KEYS[1], 'done') or '0-0', dead}
