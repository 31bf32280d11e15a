-- Shared by the scripts that take jobs from where they wait or run, and end them or put them back.

-- put_back(...): a step after which a job waits; what is owed has no time to live.
local function put_back(key, owner, owner_before, status_before)
  step(function() redis.pcall('MSET', key .. ':owner', owner_before, key .. ':status', status_before) end,
    'MSET', key .. ':owner', owner, key .. ':status', 'pending')
end

-- push(queue, command, id): a step that puts a job at an end of the queue.
local function push(queue, command, id)
  step(function() redis.pcall('LREM', queue, command == 'RPUSH' and -1 or 1, id) end, command, queue, id)
end

-- release(leases, id): a step that takes a lease away.
local function release(leases, id)
  local score = run('ZSCORE', leases, id)
  if score then step(function() redis.pcall('ZADD', leases, score, id) end, 'ZREM', leases, id) end
end

-- settle(...): the last steps of a job that ends without a result, after it was taken from where it waited or ran.
local function settle(jobs, stats, id, status, message, ttl)
  local key = jobs .. id
  count(stats, status, 1)
  if message ~= '' then run('SET', key .. ':error', message, 'PX', ttl) end
  local owner = run('GET', key .. ':owner')
  -- A worker that had it must not end it once more.
  if is_fence(owner) then step(function() redis.pcall('SET', key .. ':owner', owner) end, 'DEL', key .. ':owner') end
  run('SET', key .. ':status', status, 'PX', ttl)
  commit()
  keep_idempotency(jobs, owner, ttl)
  try('PEXPIRE', key .. ':owner', ttl)
  try('DEL', key .. ':data', key .. ':cancel')
  announce(jobs, id, status)
end

-- end_waiting(...): end a job that waits for its retry or in the list. There its id stays as a tombstone, for it may be
-- anywhere in it; nobody counts tombstones as work.
local function end_waiting(place, id, status, message)
  if run('ZREM', place.delayed, id) == 1 then
    undone_by[#undone_by + 1] = function() redis.pcall('ZADD', place.delayed, text(place.at), id) end
  elseif run('SADD', place.tombstones, id) == 1 then
    undone_by[#undone_by + 1] = function() redis.pcall('SREM', place.tombstones, id) end
  end
  local due = run('ZSCORE', place.deadlines, id)
  if due then step(function() redis.pcall('ZADD', place.deadlines, due, id) end, 'ZREM', place.deadlines, id) end
  settle(place.jobs, place.stats, id, status, message, place.ttl)
end

-- drop_dead(...): take the oldest dead letter off the list, and its data with it; false when there is none.
local function drop_dead(jobs, dead)
  local id = try('LINDEX', dead.list, -1)
  if not id then return false end
  local key = jobs .. id
  if not try('DEL', key .. ':data') then return false end
  local size = try('HGET', dead.sizes, id)
  if size then
    try('HDEL', dead.sizes, id)
    try('HINCRBY', dead.sizes, '', 0 - size)
  end
  for _, part in ipairs({ ':status', ':error', ':owner' }) do try('PEXPIRE', key .. part, dead.job_ttl) end
  return try('RPOP', dead.list) ~= nil
end

-- bury(...): a job that used up its attempts, and has no lease any more, fails and becomes a dead letter, which keeps
-- its data for a redrive. Where there are too many, or too large ones, the oldest fall off.
local function bury(jobs, stats, dead, id, owner, message, at)
  local key = jobs .. id
  local size = run('STRLEN', key .. ':data')
  run('SET', key .. ':error', message, 'PX', dead.ttl)
  count(stats, 'failed', 1)
  count(stats, 'dead', 1)
  step(function() redis.pcall('LREM', dead.list, 1, id) end, 'LPUSH', dead.list, id)
  step(function() redis.pcall('HDEL', dead.sizes, id) end, 'HSET', dead.sizes, id, size)
  step(function() redis.pcall('HINCRBY', dead.sizes, '', 0 - size) end, 'HINCRBY', dead.sizes, '', size)
  step(function() redis.pcall('SET', key .. ':owner', owner) end, 'SET', key .. ':owner',
    owner .. ':dead:' .. text(at), 'PX', dead.ttl)
  run('SET', key .. ':status', 'failed', 'PX', dead.ttl)
  commit()
  keep_idempotency(jobs, owner, dead.ttl)
  try('PEXPIRE', key .. ':data', dead.ttl)
  try('DEL', key .. ':cancel')
  local over = (try('LLEN', dead.list) or 0) - dead.most
  local bytes = tonumber(try('HGET', dead.sizes, '') or 0)
  local dropped = 0
  while dropped < 100 and (over > 0 or bytes > dead.most_bytes) and drop_dead(jobs, dead) do
    over, dropped = over - 1, dropped + 1
    bytes = tonumber(try('HGET', dead.sizes, '') or 0)
  end
  announce(jobs, id, 'failed')
end

-- promote(...): retries that are due go to the front of the queue.
local function promote(queue, delayed, at)
  local due = run('ZRANGEBYSCORE', delayed, '-inf', at, 'LIMIT', 0, 100)
  if #due == 0 then return 0 end
  -- The last one pushed is the next one taken.
  local ids = {}
  for index = #due, 1, -1 do ids[#ids + 1] = due[index] end
  step(function()
    for _ = 1, #ids do redis.pcall('RPOP', queue) end
  end, 'RPUSH', queue, unpack(ids))
  run('ZREM', delayed, unpack(due))
  commit()
  return #due
end
