-- The counters of a partition, in one instant.
-- KEYS 1 meta, 2 log, 3 open, 4 lease, 5 stuck. ARGV 1 walk the log when it has at most this many entries.
-- Returns {accepted, stored, skipped, dead, purged, pending, buffered, entries, counted or -1, first entry id or '',
-- open streams, leased}.
local meta = redis.call('HMGET', KEYS[1], 'accepted', 'stored', 'skipped', 'dead', 'purged', 'pending', 'buffered')
local entries = redis.call('XLEN', KEYS[2])
local counted = -1
local first = ''
if entries <= tonumber(ARGV[1]) then
  counted = 0
  for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', '+')) do
    if first == '' then
      first = entry[1]
    end
    for f = 1, #entry[2], 2 do
      if entry[2][f] == 'n' then
        counted = counted + tonumber(entry[2][f + 1])
      end
    end
  end
else
  first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1][1]
end
local reply = {}
for i = 1, 7 do
  reply[i] = tonumber(meta[i] or 0)
end
reply[8] = entries
reply[9] = counted
reply[10] = first
reply[11] = redis.call('ZCARD', KEYS[3]) + redis.call('ZCARD', KEYS[5])
reply[12] = redis.call('EXISTS', KEYS[4])
return reply
