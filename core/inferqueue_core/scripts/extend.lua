-- extend: a worker's heartbeat; reports that it lives and lengthens the leases that it holds.
--
-- KEYS  1 leases  2 workers  3 worker reports  4 retired  5 owning model
-- ARGV  1 beginning of job keys  2 worker  3 report (JSON; '' sends leases alone)  4 lease (ms)
--       5 wake channel, on which it is told that the worker has nothing more to do ('': it is not)
--       6 the worker's model ('': it makes the queue nobody's)  7 silence after which a worker counts as gone (ms)
--       then id, fence of each held job
-- Gives {1 when retired else 0, the model that the queue belongs to when it is another one else '',
--        1 when the queue was nobody's else 0,
--        then for each job 1 extended | 0 lost | 2 extended, and its cancellation is asked for}.
-- The queue becomes that of the worker's model when no other worker lives: of two that come together one wins. A worker
-- of another model is not made known, its leases are lengthened.
--
-- Safe to repeat: it only moves deadlines further. A full Redis still takes it: the first write is ZREM.
local leases, workers, reports, retired = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local jobs, worker, report, lease, wake = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local model, silence = ARGV[6], tonumber(ARGV[7])
local at = now()
redis.pcall('ZREM', workers, '')

local other_owner, was_nobodys = '', 0
if report ~= '' then
  local owner = model ~= '' and redis.call('MGET', KEYS[5])[1]
  if owner and owner ~= model then
    -- Of two workers that are not silent one at least is another.
    local lively = redis.call('ZRANGEBYSCORE', workers, at - silence, at + silence, 'LIMIT', 0, 2)
    if #lively > 1 or lively[1] and lively[1] ~= worker then other_owner = owner end
  end
  if other_owner ~= '' then
    redis.call('HDEL', reports, worker)
    redis.call('ZREM', workers, worker)
  else
    redis.call('ZADD', workers, at, worker)
    redis.call('HSET', reports, worker, report)
    if model ~= '' and owner ~= model then redis.call('SET', KEYS[5], model) end
    if model ~= '' and not owner then was_nobodys = 1 end
  end
end
local answer = { redis.call('SISMEMBER', retired, worker), other_owner, was_nobodys }
-- Keys are read and written many at a time: a call of its own for each costs more than the work.
local deadline, CHUNK = at + lease, 2 * 64
for first = 8, #ARGV, CHUNK do
  local last = math.min(first + CHUNK - 1, #ARGV)
  local keys, leased = {}, {}
  for index = first, last, 2 do
    local n = #keys
    keys[n + 1], keys[n + 2] = jobs .. ARGV[index] .. ':owner', jobs .. ARGV[index] .. ':cancel'
  end
  local values = redis.call('MGET', unpack(keys))
  for index = first, last, 2 do
    local owner, cancel = values[index - first + 1], values[index - first + 2]
    if owner ~= ARGV[index + 1] then
      answer[#answer + 1] = 0
    else
      local n = #leased
      leased[n + 1], leased[n + 2] = deadline, ARGV[index]
      answer[#answer + 1] = cancel and 2 or 1
    end
  end
  if #leased > 0 then redis.call('ZADD', leases, unpack(leased)) end
end
if wake ~= '' then redis.pcall('PUBLISH', wake, 'idle') end
return answer
