-- Put an edited letter in the place of the one it was. It becomes the newest of its partition.
--
-- KEYS 1 dead, 2 dead index, 3 imported
-- ARGV 1 the letter's entry id, 2 record, 3 envelope, 4 mark: by this an import knows the letter
-- Returns its new entry id, or '' when the letter is gone, or is another one by now.
local letter = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not letter then
  return ''
end
local fields, names = {}, {}
for f = 1, #letter[2], 2 do
  fields[letter[2][f]] = letter[2][f + 1]
  if letter[2][f] ~= 'd' then
    names[#names + 1] = letter[2][f]
  end
end
fields.r, fields.e, fields.d, names[#names + 1] = ARGV[2], ARGV[3], ARGV[4], 'd'
local parts = {}
for _, name in ipairs(names) do
  parts[#parts + 1] = name
  parts[#parts + 1] = fields[name]
end
redis.call('XDEL', KEYS[1], ARGV[1])
local at = redis.call('XADD', KEYS[1], '*', unpack(parts))
redis.call('HSET', KEYS[3], ARGV[4], at)
for _, found in ipairs({fields.i, fields.p or ''}) do
  if redis.call('HGET', KEYS[2], found) == ARGV[1] then
    redis.call('HSET', KEYS[2], found, at) -- else a later letter of the same record is the one to find
  end
end
return at
