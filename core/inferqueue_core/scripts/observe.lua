-- observe: everything that one look at a queue needs, at one moment.
--
-- KEYS  1 queue  2 leases  3 delayed  4 dead  5 workers  6 worker reports  7 retired  8 stats  9 decision
--       10 owning model
-- ARGV  1 how many ids to sample evenly over the queue, oldest first
-- Gives {now (ms), length, in flight, delayed, dead, {position, id, …} samples (0 is next to be taken),
--        {worker, last heartbeat, …}, {worker, report, …}, {retired worker, …}, {counter, value, …},
--        decision or nil, model that the queue belongs to or nil}.
--
-- Reads only.
local length = redis.call('LLEN', KEYS[1])
local count = math.min(length, tonumber(ARGV[1]))
local samples = {}
for sample = 0, count - 1 do
  local position = count == 1 and 0 or math.floor(sample * (length - 1) / (count - 1))
  local id = redis.call('LINDEX', KEYS[1], -1 - position)
  samples[#samples + 1] = position
  samples[#samples + 1] = id
end
return {
  now(), length, redis.call('ZCARD', KEYS[2]), redis.call('ZCARD', KEYS[3]), redis.call('LLEN', KEYS[4]), samples,
  redis.call('ZRANGE', KEYS[5], 0, -1, 'WITHSCORES'), redis.call('HGETALL', KEYS[6]),
  redis.call('SMEMBERS', KEYS[7]), redis.call('HGETALL', KEYS[8]),
  -- Unlike GET, MGET takes a key of another type for none: neither is worth the look.
  unpack(redis.call('MGET', KEYS[9], KEYS[10])),
}
