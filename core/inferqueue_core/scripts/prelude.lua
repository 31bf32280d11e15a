-- Shared by every script: it is put before each of them, whose own text becomes the function `main`.

-- Redis does not take back what a script has written before one of its calls fails: a right that is missing, a key of
-- another type, no memory. So each job is changed in steps that can be taken back, and nothing that it needs is freed
-- before the last of them: a job is untouched or done.
local undone_by = {}

-- run(...): one call; when it fails, all steps since the last commit are taken back and the script ends with its error.
local function run(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then
    for step = #undone_by, 1, -1 do undone_by[step]() end
    error(reply)
  end
  return reply
end

-- step(undo, ...): a call that `undo` takes back when a later one fails.
local function step(undo, ...)
  local reply = run(...)
  undone_by[#undone_by + 1] = undo
  return reply
end

local function commit() undone_by = {} end

-- try(...): a call without which the job is right all the same: a hint to those who wait, or room that is freed.
local function try(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then return nil, reply end
  return reply
end

-- now(): milliseconds of Redis' own clock, so that no client's clock counts.
local function now()
  local time = run('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- text(number): as a string. Redis would write large numbers as 1.8e+12.
local function text(number) return string.format('%.0f', number) end

-- each(list, size, act): act on the parts of a list; a call for each of its elements costs more than the work, and one
-- for all of them could be larger than Lua's stack.
local function each(list, size, act)
  for first = 1, #list, size do act(first, math.min(first + size - 1, #list)) end
end

local TERMINAL = { completed = true, failed = true, canceled = true, expired = true }

-- An owner reads `attempt@target::since` while the job waits (since: ms; behind it `:nonce` when a retry put it there),
-- `attempt@target:started-nonce:worker` while it runs (its fence), then `:dead:ended` (ms) behind it, or, without the
-- target, `:ended:model/version/digest` when its result is stored.
-- A target is `queue/model/version/signature/pinned`, each percent-encoded, and `/digest` behind it where the job alone
-- was made by an Idempotency-Key; a stranger's job has none.

-- attempt_of(owner): how often the job was claimed so far.
local function attempt_of(owner)
  return owner and tonumber(string.match(owner, '^(%d+)[:@]')) or 0
end

-- target_of(owner): `@target`, or '' where none is named.
local function target_of(owner)
  return owner and string.match(owner, '^%d+(@[^:]*):') or ''
end

-- digest_of(owner): `/digest` of its Idempotency-Key, or ''.
local function digest_of(owner)
  return owner and string.match(owner, '^%d+@[^/:]*/[^/:]*/[^/:]*/[^/:]*/[^/:]*(/[^/:]+):') or ''
end

-- keep_idempotency(jobs, owner, ttl): let the Idempotency-Key of a job live as long as the job is known.
local function keep_idempotency(jobs, owner, ttl)
  local digest = digest_of(owner)
  if digest ~= '' then try('PEXPIRE', string.sub(jobs, 1, -5) .. 'idem:' .. string.sub(digest, 2), ttl) end
end

-- since_of(owner): since when (ms) a job waits; nil where it does not, or nobody wrote it down.
local function since_of(owner)
  return owner and tonumber(string.match(owner, '^[^:]*::(%d+)'))
end

-- is_fence(owner): whether a worker has the job.
local function is_fence(owner)
  return owner and string.find(owner, '^[^:]*:[^:]+:[^:]*$') ~= nil
end

local function waiting_owner(attempt, target, at, nonce)
  return attempt .. target .. '::' .. text(at) .. (nonce and ':' .. nonce or '')
end

-- announce(jobs, id, status): tell those who wait for the job. That it has begun is not told: nobody waits for that,
-- and it would cost each job a command.
local function announce(jobs, id, status)
  try('PUBLISH', jobs .. id .. ':events', status)
end

-- count(stats, name, number): a step.
local function count(stats, name, number)
  step(function() redis.pcall('HINCRBY', stats, name, -number) end, 'HINCRBY', stats, name, number)
end

-- put_back(...): a step after which a job waits; what is owed has no time to live.
local function put_back(key, owner, owner_before, status_before)
  step(function() redis.pcall('MSET', key .. ':owner', owner_before, key .. ':status', status_before) end,
    'MSET', key .. ':owner', owner, key .. ':status', 'pending')
end

-- push(queue, command, id): a step that puts a job at an end of the queue.
local function push(queue, command, id)
  step(function() redis.pcall('LREM', queue, command == 'RPUSH' and -1 or 1, id) end, command, queue, id)
end

-- open(stats): the first write of a script that must run on a full Redis too: it needs no memory, and the writes
-- behind it are let through.
local function open(stats) try('HDEL', stats, '') end

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
