-- Shared by every script: it is put before each of them.

-- now(): milliseconds of Redis' own clock, so that no client's clock counts.
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local TERMINAL = { completed = true, failed = true, canceled = true, expired = true }

-- An owner reads `attempt@target::` while the job waits, `attempt@target:nonce:worker` while it runs (its fence),
-- then `:dead:ended` (ms) behind it, or, without the target, `:ended:model/version/digest` when its result is stored.
-- A target is `queue/model/version/signature/pinned`, each percent-encoded; a stranger's job has none.

-- attempt_of(owner): how often the job was claimed so far.
local function attempt_of(owner)
  return owner and tonumber(string.match(owner, '^(%d+)[:@]')) or 0
end

-- target_of(owner): `@target`, or '' where none is named.
local function target_of(owner)
  return owner and string.match(owner, '^%d+(@[^:]*):') or ''
end

-- announce(jobs, id, status): tell whoever waits for the job. That it has begun is not told: nobody waits for that,
-- and it would cost each job a command.
local function announce(jobs, id, status)
  redis.call('PUBLISH', jobs .. id .. ':events', status)
end

-- end_job(...): the one way in which a job without result ends. The caller has written before (ZREM or RPOP),
-- so that a full Redis does not refuse this.
local function end_job(jobs, stats, id, status, message, ttl)
  redis.call('DEL', jobs .. id .. ':data', jobs .. id .. ':cancel')
  if message ~= '' then redis.call('SET', jobs .. id .. ':error', message, 'PX', ttl) end
  redis.call('SET', jobs .. id .. ':status', status, 'PX', ttl)
  redis.call('HINCRBY', stats, status, 1)
  announce(jobs, id, status)
end

-- bury(...): a job that used up its attempts fails and becomes a dead letter, which keeps its data for a redrive.
local function bury(jobs, stats, dead, id, owner, message, dead_ttl, dead_max, at)
  redis.call('SET', jobs .. id .. ':error', message, 'PX', dead_ttl)
  redis.call('SET', jobs .. id .. ':owner', owner .. ':dead:' .. at, 'PX', dead_ttl)
  redis.call('SET', jobs .. id .. ':status', 'failed', 'PX', dead_ttl)
  redis.call('PEXPIRE', jobs .. id .. ':data', dead_ttl)
  redis.call('DEL', jobs .. id .. ':cancel')
  redis.call('LPUSH', dead, id)
  redis.call('LTRIM', dead, 0, dead_max - 1)
  redis.call('HINCRBY', stats, 'failed', 1)
  redis.call('HINCRBY', stats, 'dead', 1)
  announce(jobs, id, 'failed')
end

-- promote(...): retries that are due go to the front of the queue.
local function promote(queue, delayed, at)
  local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', at, 'LIMIT', 0, 100)
  if #due > 0 then
    redis.call('ZREM', delayed, unpack(due))
    -- The last one pushed is the next one taken.
    for index = #due, 1, -1 do redis.call('RPUSH', queue, due[index]) end
  end
  return #due
end

-- expire_overdue(...): jobs that nobody started in time end as expired.
local function expire_overdue(jobs, stats, deadlines, at, ttl)
  local overdue = redis.call('ZRANGEBYSCORE', deadlines, '-inf', at, 'LIMIT', 0, 100)
  local count = 0
  for _, id in ipairs(overdue) do
    redis.call('ZREM', deadlines, id)
    if redis.call('GET', jobs .. id .. ':status') == 'pending' then
      end_job(jobs, stats, id, 'expired', 'its deadline passed before a worker was free', ttl)
      count = count + 1
    end
  end
  return count
end
