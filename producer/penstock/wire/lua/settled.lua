-- How far a partition is settled, and what became of some of its records. See wire/inquiry.py.
--
-- KEYS 1 meta, 2 dead, 3 dead index, 4 gaps
-- ARGV for each inquiry: record id, entry id; of a stream the entry id, a blank and when the stream was opened
-- Returns {last settled entry id, {number, letter id, envelope, ...} of the dead, {number, ...} of those held back};
-- inquiries are numbered from 0.
local done = redis.call('HGET', KEYS[1], 'done') or '0-0'

local function place(id)
  local bar = string.find(id, '-', 1, true)
  return tonumber(string.sub(id, 1, bar - 1)), tonumber(string.sub(id, bar + 1))
end

local function is_after(one, other)
  local ms, number = place(one)
  local other_ms, other_number = place(other)
  return ms > other_ms or ms == other_ms and number > other_number
end

local dead, held = {}, {}
local buries = redis.call('EXISTS', KEYS[3]) == 1
for a = 1, #ARGV, 2 do
  local id, entry, number = ARGV[a], ARGV[a + 1], (a - 1) / 2
  local bar = string.find(entry, ' ', 1, true)
  local trace = entry
  if bar then
    entry, trace = string.sub(entry, 1, bar - 1), 's' .. string.sub(entry, bar + 1)
  end
  local found = buries and redis.call('HMGET', KEYS[3], trace .. ':' .. id, entry .. ':', id) or {}
  local at = found[1] or found[2]
  local replayed = at and string.byte(at) == 62 and string.sub(at, 2) -- '>' and the entry that brings it again
  if bar and redis.call('SISMEMBER', KEYS[4], id) == 1 then
    held[#held + 1] = number
  elseif replayed and is_after(replayed, done) then
    held[#held + 1] = number
  elseif at or found[3] then
    if replayed then -- and settled past it, by an older worker, which leaves no traces
      at, entry = nil, replayed
    end
    local where = at or found[3]
    local letter = where and redis.call('XRANGE', KEYS[2], where, where)[1]
    local fields = {}
    for f = 1, letter and #letter[2] or 0, 2 do
      fields[letter[2][f]] = letter[2][f + 1]
    end
    -- One without a trace is by an older worker: it may be of this record unless it was written before that came.
    if fields.e and (at or (fields.p or '') == '' and not is_after(entry, found[3])) then
      dead[#dead + 1] = number
      dead[#dead + 1] = fields.i
      dead[#dead + 1] = fields.e
    end
  end
end
return {done, dead, held}
