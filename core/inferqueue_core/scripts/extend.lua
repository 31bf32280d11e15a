-- extend: a worker's heartbeat; reports that it lives and lengthens the leases that it holds.
--
-- KEYS  1 leases  2 workers  3 worker reports  4 retired
-- ARGV  1 beginning of job keys  2 worker  3 report (JSON; '' sends leases alone)  4 lease (ms)  5 TTL (ms)
--       then id, fence of each held job
-- Gives {1 when retired else 0, then for each job 1 extended | 0 lost | 2 extended, and its cancellation is asked for}.
--
-- Safe to repeat: it only moves deadlines further. A full Redis still takes it: each write begins with a ZREM.
local leases, workers, reports, retired = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local jobs, worker, report, lease, ttl = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local at = now()
if report ~= '' then
  redis.call('ZREM', workers, worker)
  redis.call('ZADD', workers, at, worker)
  redis.call('HSET', reports, worker, report)
end
local answer = { redis.call('SISMEMBER', retired, worker) }
for index = 6, #ARGV, 2 do
  local id, fence = ARGV[index], ARGV[index + 1]
  local key = jobs .. id
  if redis.call('GET', key .. ':owner') ~= fence then
    answer[#answer + 1] = 0
  else
    redis.call('ZREM', leases, id)
    redis.call('ZADD', leases, at + lease, id)
    for _, part in ipairs({ ':owner', ':status', ':data' }) do redis.call('PEXPIRE', key .. part, ttl) end
    answer[#answer + 1] = redis.call('EXISTS', key .. ':cancel') == 1 and 2 or 1
  end
end
return answer
