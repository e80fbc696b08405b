-- flags: allow-oom
-- Settle a prefix of a log: trim it, count it, keep its dead letters and the chunks of open streams.
--
-- KEYS 1 lease, 2 meta, 3 log, 4 dead, 5 dead index, 6 open, 7 gaps, 8 stuck, then one buffer for each stream operation
-- ARGV 1 epoch, 2 token of this commit, 3 last entry id of the prefix, 4 id to trim up to, 5 now (ms),
--      6 records leaving the log, 7 records stored, 8 records skipped, 9 records dead, 10 change of buffered records,
--      11 MessagePack of dead letters {id, count, record, envelope},
--      12 MessagePack of stream operations {stream id, op, chunk, chunk, ...}, in the order of their buffers
--         op 0: the stream is settled, forget it · 1: append · 2: append, the stream has ended with a gap
--         3: it has a gap and fell silent
--      13 length of the prefix's last frame, 14 its first bytes,
--      15 MessagePack of the letters' traces ('' for none), 16 MessagePack of the traces of replayed letters in it
-- Returns 1, or 0 when the lease is lost, or the log does not hold what was read: then nothing was done.
--
-- Safe to repeat: the token of the last commit is kept, and a second run does nothing.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if redis.call('HGET', KEYS[2], 'token') == ARGV[2] then
  return 1
end
if ARGV[3] ~= '' then
  -- A new primary gives the ids of what it lacks to others. Where the last frame is the one that was read, so are all.
  local last = redis.call('XRANGE', KEYS[3], ARGV[3], ARGV[3])[1]
  local frame = last and last[2][2]
  if not frame or #frame ~= tonumber(ARGV[13]) or string.sub(frame, 1, #ARGV[14]) ~= ARGV[14] then
    return 0
  end
end

for _, trace in ipairs(cmsgpack.unpack(ARGV[16])) do
  local at = redis.call('HGET', KEYS[5], trace)
  -- '>' and where it lies, as the last replay of that trace left it, which may lie behind the prefix.
  if at and string.byte(at) == 62 and #redis.call('XRANGE', KEYS[3], string.sub(at, 2), ARGV[3], 'COUNT', 1) == 1 then
    redis.call('HDEL', KEYS[5], trace)
  end
end
local traces = cmsgpack.unpack(ARGV[15])
for l, letter in ipairs(cmsgpack.unpack(ARGV[11])) do
  local id, trace = letter[1], traces[l] or ''
  local at = redis.call('XADD', KEYS[4], '*', 'i', id, 'n', letter[2], 'r', letter[3], 'e', letter[4], 'p', trace)
  redis.call('HSET', KEYS[5], id, at)
  if trace ~= '' then
    redis.call('HSET', KEYS[5], trace, at)
  end
end
for i, change in ipairs(cmsgpack.unpack(ARGV[12])) do
  local stream, op, buffer = change[1], change[2], KEYS[8 + i]
  if op == 0 then
    redis.call('DEL', buffer)
    redis.call('ZREM', KEYS[6], stream)
    redis.call('SREM', KEYS[7], stream)
    redis.call('ZREM', KEYS[8], stream)
  elseif op == 3 then
    redis.call('ZREM', KEYS[6], stream)
    redis.call('ZADD', KEYS[8], ARGV[5], stream)
  else
    for c = 3, #change do
      redis.call('RPUSH', buffer, change[c])
    end
    redis.call('ZADD', KEYS[6], ARGV[5], stream)
    redis.call('ZREM', KEYS[8], stream)
    if op == 2 then
      redis.call('SADD', KEYS[7], stream)
    end
  end
end

local head = ''
if ARGV[3] ~= '' then
  redis.call('XTRIM', KEYS[3], 'MINID', '=', ARGV[4])
  local first = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)
  head = first[1] and first[1][1] or ''
  redis.call('HSET', KEYS[2], 'done', ARGV[3])
end
redis.call('HSET', KEYS[2], 'token', ARGV[2], 'head', head, 'stall', 0, 'fails', 0)
redis.call('HINCRBY', KEYS[2], 'pending', 0 - tonumber(ARGV[6]))
redis.call('HINCRBY', KEYS[2], 'stored', ARGV[7])
redis.call('HINCRBY', KEYS[2], 'skipped', ARGV[8])
redis.call('HINCRBY', KEYS[2], 'dead', ARGV[9])
redis.call('HINCRBY', KEYS[2], 'buffered', ARGV[10])
return 1
