-- Shared by the scripts that take jobs from where they wait or run, and end them or put them back.

-- undo(...): note the command that takes back the write before it.
local function undo(...)
  local command = { ... }
  undone_by[#undone_by + 1] = function() redis.pcall(unpack(command)) end
end

-- commit(): a job is done; what fails later takes nothing of it back.
local function commit() undone_by = {} end

-- open(stats): the first write of a script that must run on a full Redis too: it needs no memory, and the writes
-- behind it are let through.
local function open(stats) redis.pcall('HDEL', stats, '') end

local function count(stats, name, number)
  redis.call('HINCRBY', stats, name, number)
  undo('HINCRBY', stats, name, -number)
end

-- announce(jobs, id, status): tell those who wait for the job. That it has begun is not told: nobody waits for that,
-- and it would cost each job a command.
local function announce(jobs, id, status) redis.pcall('PUBLISH', jobs .. id .. ':events', status) end

-- keep_idempotency(jobs, owner, ttl): let the Idempotency-Key of a job live as long as the job is known.
local function keep_idempotency(jobs, owner, ttl)
  local digest = digest_of(owner)
  if digest ~= '' then redis.pcall('PEXPIRE', string.sub(jobs, 1, -5) .. 'idem:' .. string.sub(digest, 2), ttl) end
end

-- put_back(...): let a job wait; what is owed has no time to live.
local function put_back(key, owner, owner_before, status_before)
  redis.call('MSET', key .. ':owner', owner, key .. ':status', 'pending')
  undo('MSET', key .. ':owner', owner_before, key .. ':status', status_before)
end

-- push(queue, command, id): put a job at an end of the queue.
local function push(queue, command, id)
  redis.call(command, queue, id)
  undo('LREM', queue, command == 'RPUSH' and -1 or 1, id)
end

-- drop(zset, id): take a job out of its leases, deadlines or pauses, where it is in them.
local function drop(zset, id)
  local score = redis.call('ZSCORE', zset, id)
  if not score then return false end
  redis.call('ZREM', zset, id)
  undo('ZADD', zset, score, id)
  return true
end

-- settle(place, ...): the last steps of a job that ends without a result, after it was taken from where it waited. The
-- lease of one that ran goes last.
local function settle(place, id, status, message)
  local key, ttl = place.jobs .. id, place.ttl
  count(place.stats, status, 1)
  if message ~= '' then redis.call('SET', key .. ':error', message, 'PX', ttl) end
  local owner, status_before = redis.call('GET', key .. ':owner'), redis.call('GET', key .. ':status')
  redis.call('SET', key .. ':status', status, 'PX', ttl)
  if status_before then undo('SET', key .. ':status', status_before) else undo('DEL', key .. ':status') end
  -- A worker that had it must not end it once more.
  if is_fence(owner) then
    redis.call('DEL', key .. ':owner')
    undo('SET', key .. ':owner', owner)
  end
  if place.leases then redis.call('ZREM', place.leases, id) end
  commit()
  keep_idempotency(place.jobs, owner, ttl)
  redis.pcall('PEXPIRE', key .. ':owner', ttl)
  redis.pcall('DEL', key .. ':data', key .. ':cancel')
  announce(place.jobs, id, status)
end

-- end_waiting(...): end a job that waits for its retry or in the list. There its id stays as a tombstone, for it may be
-- anywhere in it; nobody counts tombstones as work.
local function end_waiting(place, id, status, message)
  if not drop(place.delayed, id) and redis.call('SADD', place.tombstones, id) == 1 then
    undo('SREM', place.tombstones, id)
  end
  drop(place.deadlines, id)
  settle(place, id, status, message)
end

-- promote(...): retries that are due go to the front of the queue.
local function promote(queue, delayed, at)
  local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', at, 'LIMIT', 0, 100)
  if #due == 0 then return 0 end
  -- The last one pushed is the next one taken.
  local ids = {}
  for index = #due, 1, -1 do ids[#ids + 1] = due[index] end
  redis.call('RPUSH', queue, unpack(ids))
  undo('LTRIM', queue, 0, -#ids - 1)
  redis.call('ZREM', delayed, unpack(due))
  commit()
  return #due
end
