-- observe: everything that one look at a queue needs, at one moment.
--
-- KEYS  1 queue  2 leases  3 delayed  4 dead  5 workers  6 worker reports  7 retired  8 stats  9 decision
--       10 owning model  11 tombstones  12 dead sizes
-- ARGV  1 beginning of job keys  2 how many ids to sample evenly over the queue, oldest first
-- Gives {now (ms), jobs that wait, in flight, delayed, dead, bytes of the dead,
--        {position, id, since when it waits (ms) or '', …} samples (0 is next to be taken),
--        {worker, last heartbeat, …}, {worker, report, …}, {retired worker, …}, {counter, value, …},
--        decision or nil, model that the queue belongs to or nil}.
--
-- Reads only.
local queue, tombstones = KEYS[1], KEYS[11]
local listed, buried = redis.call('LLEN', queue), redis.call('SCARD', tombstones)
local waiting = math.max(0, listed - buried)

-- What stands at a place of the list or, where that is a tombstone, soon behind it.
local LOOK = 16
local function job_at(index)
  if buried == 0 then return redis.call('LINDEX', queue, -1 - index) end
  local ids = redis.call('LRANGE', queue, -LOOK - index, -1 - index)
  for nth = #ids, 1, -1 do
    if redis.call('SISMEMBER', tombstones, ids[nth]) == 0 then return ids[nth] end
  end
end

local count = math.min(waiting, tonumber(ARGV[2]))
local found, positions, keys = {}, {}, {}
for sample = 0, count - 1 do
  local share = count == 1 and 0 or sample / (count - 1)
  local id = job_at(math.floor(share * (listed - 1)))
  if id and found[#found] ~= id then
    found[#found + 1], positions[#positions + 1] = id, math.floor(share * (waiting - 1))
    keys[#keys + 1] = ARGV[1] .. id .. ':owner'
  end
end
local samples = {}
if #keys > 0 then
  for nth, owner in ipairs(redis.call('MGET', unpack(keys))) do
    local since = since_of(owner)
    local n = #samples
    samples[n + 1], samples[n + 2], samples[n + 3] = positions[nth], found[nth], since and since or ''
  end
end
return {
  now(), waiting, redis.call('ZCARD', KEYS[2]), redis.call('ZCARD', KEYS[3]), redis.call('LLEN', KEYS[4]),
  tonumber(redis.call('HGET', KEYS[12], '') or 0), samples,
  redis.call('ZRANGE', KEYS[5], 0, -1, 'WITHSCORES'), redis.call('HGETALL', KEYS[6]),
  redis.call('SMEMBERS', KEYS[7]), redis.call('HGETALL', KEYS[8]),
  -- Unlike GET, MGET takes a key of another type for none: neither is worth the look.
  unpack(redis.call('MGET', KEYS[9], KEYS[10])),
}
