-- flags: allow-oom
-- Halt a lane for all workers, until somebody resumes it. Who came first stays.
-- KEYS 1 lanes. ARGV 1 lane, 2 how often it was resumed when the reason was found, '' whenever that was, 3 the halt.
-- Returns 1, or 0 when the lane was resumed since: the reason is an old one.
if ARGV[2] ~= '' and (redis.call('HGET', KEYS[1], ARGV[1] .. ':resumed') or '0') ~= ARGV[2] then
  return 0
end
redis.call('HSETNX', KEYS[1], ARGV[1] .. ':halt', ARGV[3])
return 1
