-- reap: put right what time has undone. Any process may run it at any moment; it needs no leader.
--
-- KEYS  1 queue  2 leases  3 delayed  4 deadlines  5 dead  6 workers  7 worker reports  8 retired  9 stats
-- ARGV  1 beginning of job keys  2 TTL (ms)  3 lease (ms)  4 most attempts  5 most leases to look at
--       6 most dead letters  7 TTL of a dead letter (ms)  8 silence after which a worker is forgotten (ms)
-- Gives {jobs put back, dead letters made, jobs expired, retries promoted}.
--
-- Safe to repeat: each pass acts on what is overdue now and leaves it no longer so.
-- After a restart of Redis every lease looks overdue while its worker lives: leases wait until Redis has been up
-- longer than one. A full Redis still takes it: each write begins with ZREM.
local queue, leases, delayed, deadlines, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local workers, reports, retired, stats = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local jobs, ttl, lease, max_attempts = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local dead_max, dead_ttl = tonumber(ARGV[6]), ARGV[7]
local at = now()
local promoted = promote(queue, delayed, at)
local expired = expire_overdue(jobs, stats, deadlines, at, ttl)
local put_back, buried = 0, 0

local overdue = redis.call('ZRANGEBYSCORE', leases, '-inf', at, 'LIMIT', 0, ARGV[5])
if #overdue > 0 then
  local info = redis.pcall('INFO', 'server')
  local uptime = type(info) == 'string' and tonumber(string.match(info, 'uptime_in_seconds:(%d+)'))
  if uptime and uptime * 1000 <= lease then overdue = {} end
end
-- The last one pushed is the next one taken: the oldest job goes back to the very front.
for index = #overdue, 1, -1 do
  local id = overdue[index]
  local key = jobs .. id
  redis.call('ZREM', leases, id)
  local owner = redis.call('GET', key .. ':owner')
  local status = redis.call('GET', key .. ':status')
  -- Without a status it was claimed so late that its TTL ran out before the first heartbeat.
  if status == 'processing' or owner and not status then
    local attempt = attempt_of(owner)
    if redis.call('EXISTS', key .. ':cancel') == 1 then
      redis.call('DEL', key .. ':owner')
      end_job(jobs, stats, id, 'canceled', '', ttl)
    elseif redis.call('EXISTS', key .. ':data') == 0 then
      redis.call('DEL', key .. ':owner')
      end_job(jobs, stats, id, 'expired', 'its data outlived JOB_TTL', ttl)
      expired = expired + 1
    elseif attempt >= max_attempts then
      local message = 'its worker vanished at each of ' .. attempt .. ' attempts (MAX_ATTEMPTS); the last was '
        .. string.match(owner, '([^:]*)$')
      bury(jobs, stats, dead, id, owner, message, dead_ttl, dead_max, string.format('%.0f', at))
      buried = buried + 1
    else
      redis.call('SET', key .. ':owner', attempt .. target_of(owner) .. '::', 'PX', ttl)
      redis.call('SET', key .. ':status', 'pending', 'PX', ttl)
      redis.call('PEXPIRE', key .. ':data', ttl)
      -- A job that cost two workers their lives goes behind the others.
      redis.call(attempt >= 2 and 'LPUSH' or 'RPUSH', queue, id)
      redis.call('HINCRBY', stats, 'retried', 1)
      announce(jobs, id, 'pending')
      put_back = put_back + 1
    end
  end
end

local silent = redis.call('ZRANGEBYSCORE', workers, '-inf', at - tonumber(ARGV[8]))
for _, worker in ipairs(silent) do
  redis.call('ZREM', workers, worker)
  redis.call('HDEL', reports, worker)
  redis.call('SREM', retired, worker)
end
return { put_back, buried, expired, promoted }
