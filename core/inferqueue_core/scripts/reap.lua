-- reap: put right what time has undone. Any process may run it at any moment; it needs no leader.
--
-- KEYS  1 queue  2 leases  3 delayed  4 deadlines  5 dead  6 dead sizes  7 workers  8 worker reports  9 retired  10 stats
--       11 tombstones  12 large
-- ARGV  1 beginning of job keys  2 TTL of what has ended (ms)  3 lease (ms)  4 most attempts  5 most jobs of a kind to
--       look at  6 most dead letters  7 most bytes of them  8 TTL of a dead letter (ms)  9 silence after which a worker
--       is forgotten (ms)  10 longest wait of a job without a deadline (ms)
-- Gives {jobs put back, dead letters made, jobs expired, retries promoted, 1 when more is left to do}.
--
-- Safe to repeat: each pass acts on what is overdue now and leaves it no longer so.
-- After a restart of Redis every lease looks overdue while its worker lives: leases wait until Redis has been up
-- longer than one. A full Redis still takes it: the first write is HDEL.
local queue, leases, delayed, deadlines = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local workers, reports, retired, stats, tombstones, large = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local jobs, ttl, lease, max_attempts, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local silence, longest_wait = tonumber(ARGV[9]), tonumber(ARGV[10])
local dead = { list = KEYS[5], sizes = KEYS[6], most = tonumber(ARGV[6]), most_bytes = tonumber(ARGV[7]), ttl = ARGV[8], job_ttl = ttl }
local at = now()
local place = {
  jobs = jobs, stats = stats, leases = leases, delayed = delayed, deadlines = deadlines, tombstones = tombstones, at = at, ttl = ttl,
}
open(stats)

local promoted = promote(queue, delayed, at)
local put_back_count, buried, expired, more = 0, 0, 0, 0

local function owners_of(ids, first, last)
  local keys = {}
  for index = first, last do keys[#keys + 1] = jobs .. ids[index] .. ':owner' end
  return redis.call('MGET', unpack(keys))
end

-- Jobs that nobody started in time.
local overdue = redis.call('ZRANGEBYSCORE', deadlines, '-inf', at, 'LIMIT', 0, limit)
for _, id in ipairs(overdue) do
  if redis.call('GET', jobs .. id .. ':status') == 'pending' then
    end_waiting(place, id, 'expired', 'its deadline passed before a worker was free')
    expired = expired + 1
  else
    redis.call('ZREM', deadlines, id)
  end
end
if #overdue == limit then more = 1 end

-- Jobs without a deadline wait QUEUE_TTL at most. The list is in order of age but for those that were put back: the look
-- ends at the first page from the front with a young one.
local PAGE = 100
local function expire_page(ids)
  local has_young = false
  for nth, owner in ipairs(owners_of(ids, 1, #ids)) do
    local id, since = ids[nth], since_of(owner)
    if since and at - since < longest_wait then
      has_young = true
    elseif since and not redis.call('ZSCORE', deadlines, id) and redis.call('GET', jobs .. id .. ':status') == 'pending' then
      end_waiting(place, id, 'expired', 'it waited longer than QUEUE_TTL')
      expired = expired + 1
    end
  end
  return has_young
end
for page = 1, limit / PAGE do
  local ids = redis.call('LRANGE', queue, -page * PAGE, -(page - 1) * PAGE - 1)
  if #ids == 0 or expire_page(ids) then break end
  if page == limit / PAGE and expired > 0 then more = 1 end
end

-- Tombstones at the front have no purpose any more.
local cleared = 0
while cleared < limit and redis.call('EXISTS', tombstones) == 1 do
  local id = redis.call('LINDEX', queue, -1)
  if not id then
    -- What was ended and never pushed, by a stranger.
    redis.call('DEL', tombstones)
    break
  end
  if redis.call('SISMEMBER', tombstones, id) == 0 then break end
  redis.call('RPOP', queue)
  undo('RPUSH', queue, id)
  redis.call('SREM', tombstones, id)
  commit()
  cleared = cleared + 1
end
if cleared == limit then more = 1 end

-- A lease that lies further ahead than leases last, and a minute, was written by a clock that was wrong.
local overdue_leases = redis.call('ZRANGEBYSCORE', leases, '-inf', at, 'LIMIT', 0, limit)
if #overdue_leases < limit then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', leases, '(' .. at + lease + 60000, '+inf', 'LIMIT', 0, limit)) do
    overdue_leases[#overdue_leases + 1] = id
  end
end
if #overdue_leases > 0 then
  local info = try('INFO', 'server')
  local uptime = type(info) == 'string' and tonumber(string.match(info, 'uptime_in_seconds:(%d+)'))
  if uptime and uptime * 1000 <= lease then overdue_leases = {} end
end
if #overdue_leases >= limit then more = 1 end

-- finish has stored how it ended, and could not go on.
local function clear_up(id, status)
  redis.call('DEL', jobs .. id .. ':data')
  -- A stranger's worker may have ended it.
  redis.call('PEXPIRE', jobs .. id .. ':owner', ttl)
  count(stats, status, 1)
  redis.call('ZREM', leases, id)
  commit()
end

local function take_from_worker(id, status, owner)
  local key, attempt = jobs .. id, attempt_of(owner)
  if redis.call('EXISTS', key .. ':cancel') == 1 then
    settle(place, id, 'canceled', '')
  elseif redis.call('EXISTS', key .. ':data') == 0 then
    settle(place, id, 'expired', 'its data is gone')
    expired = expired + 1
  elseif attempt >= max_attempts then
    local message = 'its worker vanished at each of ' .. attempt .. ' attempts (MAX_ATTEMPTS); the last was '
      .. string.match(owner, '([^:]*)$')
    bury(place, dead, id, owner, message)
    buried = buried + 1
  else
    -- A job that cost two workers their lives goes behind the others.
    push(queue, attempt >= 2 and 'LPUSH' or 'RPUSH', id)
    count(stats, 'retried', 1)
    put_back(key, waiting_owner(attempt, target_of(owner), at), owner, status or 'processing')
    redis.call('ZREM', leases, id)
    commit()
    announce(jobs, id, 'pending')
    put_back_count = put_back_count + 1
  end
end

-- The last one pushed is the next one taken: the oldest job goes back to the very front.
for index = #overdue_leases, 1, -1 do
  local id = overdue_leases[index]
  local owner, status = redis.call('GET', jobs .. id .. ':owner'), redis.call('GET', jobs .. id .. ':status')
  if TERMINAL[status] then
    clear_up(id, status)
  elseif is_fence(owner) then
    take_from_worker(id, status, owner)
  else
    redis.call('ZREM', leases, id)
  end
end

for _ = 1, limit do
  local id = redis.call('LINDEX', dead.list, -1)
  local owner = id and redis.call('GET', jobs .. id .. ':owner')
  local died = owner and tonumber(string.match(owner, ':dead:(%d+)$'))
  if not id or died and at - died < tonumber(dead.ttl) or not drop_dead(jobs, dead) then break end
end

-- A heartbeat that comes from the future is as old as one that has not come.
local silent = redis.call('ZRANGEBYSCORE', workers, '-inf', at - silence)
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', workers, '(' .. at + silence, '+inf')) do silent[#silent + 1] = worker end
for _, worker in ipairs(silent) do
  redis.call('HDEL', reports, worker)
  redis.call('SREM', retired, worker)
  redis.call('ZREM', workers, worker)
end

if redis.call('EXISTS', large) == 1 and redis.call('EXISTS', queue, leases, delayed) == 0 then redis.call('DEL', large) end
return { put_back_count, buried, expired, promoted, more }
