-- Append frames to a partition's log and arm it. With marks, tell or ask who holds the keys that the frames set.
--
-- KEYS 1 log, 2 meta, 3 seen, then the marker of each mark
-- ARGV 1 cap (records), 2 push number of this producer, 3 the number of an earlier push that must have been appended
--      (0: none), 4 life of `seen` (ms), then count, frame, count, frame, ...
--      With marks there come before the frames: the grace (ms) for a claim, '' for other pushes; then for each mark its
--      stamp and the marker's life (ms), '' for ever.
-- Returns {generation to ring, or 0; entry id of the last frame}, or the error PENSTOCK_FULL, or PENSTOCK_LOST with the
-- number of the last push that is there, when a crash or a failover has taken the one that this one follows;
-- for a claim (one mark) on a key that somebody holds {-1, his stamp, 1}; on one that is free, but by a newer stamp
-- than the claim's, {-1, that stamp, 0}. Then nothing was appended.
--
-- A marker holds the stamp of the last write of its key. It is live for ever without a TTL, else while more than the
-- grace is left of it; a deletion leaves just the grace.
--
-- Safe to repeat: a push number that was already appended appends nothing and returns where it lies.
local seen = redis.call('GET', KEYS[3])
local upto = 0
if seen then
  local bar = string.find(seen, '|', 1, true)
  upto = tonumber(string.sub(seen, 1, bar - 1))
  if upto >= tonumber(ARGV[2]) then
    return {0, string.sub(seen, bar + 1)}
  end
end
if upto < tonumber(ARGV[3]) then
  return redis.error_reply('PENSTOCK_LOST ' .. upto)
end

local frames = 5
local newer = KEYS[4] and {}
if KEYS[4] then
  frames = 2 * #KEYS
  for k = 4, #KEYS do
    local stamp, held = ARGV[2 * k - 2], redis.call('GET', KEYS[k])
    local above = not held
    if held then
      -- Byte by byte: `<` goes by the server's locale.
      for i = 1, #stamp do
        local ours, theirs = string.byte(stamp, i), string.byte(held, i)
        if ours ~= theirs then
          above = ours > theirs
          break
        end
      end
    end
    if held and ARGV[5] ~= '' then
      local left = redis.call('PTTL', KEYS[k])
      if left == -1 or left > tonumber(ARGV[5]) then
        return {-1, held, 1}
      elseif not above then
        return {-1, held, 0}
      end
    end
    newer[k] = above
  end
end

local counts = redis.call('HMGET', KEYS[2], 'pending', 'buffered', 'armed')
local held = tonumber(counts[1] or 0) + tonumber(counts[2] or 0)
if held >= tonumber(ARGV[1]) then
  return redis.error_reply('PENSTOCK_FULL ' .. held)
end

local last
local added = 0
for i = frames, #ARGV, 2 do
  -- One after the other, so that the last id tells all. Left to a server before 7, a millisecond may begin in between.
  local at = '*'
  if last then
    local bar = string.find(last, '-', 1, true)
    at = string.format('%s-%.0f', string.sub(last, 1, bar - 1), string.sub(last, bar + 1) + 1)
  end
  last = redis.call('XADD', KEYS[1], at, 'f', ARGV[i + 1], 'n', ARGV[i])
  added = added + tonumber(ARGV[i])
end
redis.call('SET', KEYS[3], ARGV[2] .. '|' .. last, 'PX', ARGV[4])
redis.call('HINCRBY', KEYS[2], 'accepted', added)
redis.call('HINCRBY', KEYS[2], 'pending', added)
for k = 4, #KEYS do
  local stamp, life = ARGV[2 * k - 2], ARGV[2 * k - 1]
  if newer[k] and life == '' then
    redis.call('SET', KEYS[k], stamp)
  elseif newer[k] then
    redis.call('SET', KEYS[k], stamp, 'PX', life)
  end
end
if counts[3] == '1' then
  return {0, last}
end
redis.call('HSET', KEYS[2], 'armed', '1')
return {redis.call('HINCRBY', KEYS[2], 'gen', 1), last}
