-- Shared by the scripts that make dead letters, or give them up.

local function try(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then return nil end
  return reply
end

-- drop_dead(...): take the oldest dead letter off the list, and its data with it; false when there is none.
local function drop_dead(jobs, dead)
  local id = try('LINDEX', dead.list, -1)
  if not id then return false end
  local key = jobs .. id
  if not try('DEL', key .. ':data') then return false end
  local size = try('HGET', dead.sizes, id)
  if size then
    redis.pcall('HDEL', dead.sizes, id)
    redis.pcall('HINCRBY', dead.sizes, '', 0 - size)
  end
  for _, part in ipairs({ ':status', ':error', ':owner' }) do redis.pcall('PEXPIRE', key .. part, dead.job_ttl) end
  return try('RPOP', dead.list) ~= nil
end

-- bury(place, ...): a job that used up its attempts loses its lease, fails and becomes a dead letter, which keeps its
-- data for a redrive. Where there are too many, or too large ones, the oldest fall off.
local function bury(place, dead, id, owner, message)
  local jobs, stats = place.jobs, place.stats
  local key = jobs .. id
  local size = redis.call('STRLEN', key .. ':data')
  redis.call('SET', key .. ':error', message, 'PX', dead.ttl)
  count(stats, 'failed', 1)
  count(stats, 'dead', 1)
  redis.call('LPUSH', dead.list, id)
  undo('LREM', dead.list, 1, id)
  redis.call('HSET', dead.sizes, id, size)
  undo('HDEL', dead.sizes, id)
  redis.call('HINCRBY', dead.sizes, '', size)
  undo('HINCRBY', dead.sizes, '', 0 - size)
  redis.call('SET', key .. ':owner', owner .. ':dead:' .. place.at, 'PX', dead.ttl)
  undo('SET', key .. ':owner', owner)
  redis.call('SET', key .. ':status', 'failed', 'PX', dead.ttl)
  undo('SET', key .. ':status', 'processing')
  redis.call('ZREM', place.leases, id)
  commit()
  keep_idempotency(jobs, owner, dead.ttl)
  redis.pcall('PEXPIRE', key .. ':data', dead.ttl)
  redis.pcall('DEL', key .. ':cancel')
  local over = (try('LLEN', dead.list) or 0) - dead.most
  local bytes = tonumber(try('HGET', dead.sizes, '') or 0)
  local dropped = 0
  while dropped < 100 and (over > 0 or bytes > dead.most_bytes) and drop_dead(jobs, dead) do
    over, dropped = over - 1, dropped + 1
    bytes = tonumber(try('HGET', dead.sizes, '') or 0)
  end
  announce(jobs, id, 'failed')
end
