-- finish: store how claimed jobs ended; the only place that writes results.
--
-- KEYS  1 leases  2 stats
-- ARGV  1 beginning of job keys  2 TTL (ms)  3 what ran, `model/version/digest` ('': not told)
--       then for each job: id, fence ('': that of the job before), status (completed, failed or canceled), result or
--       error message
-- Gives for each job 1 stored | 2 stored before under this fence | 0 stale: the job belongs to another attempt.
--
-- Safe to repeat: a stored job's owner reads `attempt:nonce:worker:ended…`, so the same finish is known again and changes nothing.
-- A full Redis still takes it: the first write is HDEL.
local leases, stats = KEYS[1], KEYS[2]
local jobs, ttl = ARGV[1], ARGV[2]
local ended = ':' .. string.format('%.0f', now()) .. (ARGV[3] == '' and '' or ':' .. ARGV[3])
local counts, answer, stored = {}, {}, {}
redis.call('HDEL', stats, '')

-- What a job was for is not kept any longer: its fence without the target.
local function without_target(fence)
  local target = string.find(fence, '@', 1, true)
  if not target then return fence end
  return string.sub(fence, 1, target - 1) .. string.sub(fence, string.find(fence, ':', target, true) or #fence + 1)
end

-- All jobs of one claim that had not been claimed before have one fence, so what becomes of it is written once.
local last_owners = {}
local function last_owner(fence)
  local owner = last_owners[fence]
  if not owner then
    owner = without_target(fence) .. ended
    last_owners[fence] = owner
  end
  return owner
end

local function store(id, owner_key, fence, status, value)
  redis.call('SET', owner_key, last_owner(fence), 'PX', ttl)
  redis.call('SET', jobs .. id .. (status == 'completed' and ':result' or ':error'), value, 'PX', ttl)
  redis.call('SET', jobs .. id .. ':status', status, 'PX', ttl)
  announce(jobs, id, status)
end

local function is_ended(owner, fence)
  return string.sub(owner, 1, #fence) == fence and string.find(owner, '^:%d', #fence + 1) ~= nil
end

-- Keys are read and deleted many at a time: a call of its own for each costs more than the work.
-- A request to cancel that came too late is left to its TTL: nobody asks for it once the job has ended.
local CHUNK = 4 * 64
local fence_before
for first = 4, #ARGV, CHUNK do
  local last = math.min(first + CHUNK - 1, #ARGV)
  local owner_keys, fences, held, spent = {}, {}, {}, {}
  for index = first, last, 4 do
    owner_keys[#owner_keys + 1] = jobs .. ARGV[index] .. ':owner'
    if ARGV[index + 1] ~= '' then fence_before = ARGV[index + 1] end
    fences[#owner_keys] = fence_before
  end
  local owners = redis.call('MGET', unpack(owner_keys))
  for nth, owner in ipairs(owners) do
    local index = first + (nth - 1) * 4
    if owner == fences[nth] then
      held[#held + 1], spent[#spent + 1] = ARGV[index], jobs .. ARGV[index] .. ':data'
    end
  end
  if #held > 0 then
    redis.call('ZREM', leases, unpack(held))
    redis.call('DEL', unpack(spent))
  end
  for nth, owner in ipairs(owners) do
    local index = first + (nth - 1) * 4
    local id, fence, status = ARGV[index], fences[nth], ARGV[index + 2]
    local outcome
    if owner == fence and not stored[id] then
      outcome, stored[id] = 1, true
      store(id, owner_keys[nth], fence, status, ARGV[index + 3])
    elseif owner == fence then
      outcome = 2
    elseif owner and is_ended(owner, without_target(fence)) then
      outcome = 2
    else
      outcome, status = 0, 'stale'
    end
    if outcome < 2 then counts[status] = (counts[status] or 0) + 1 end
    answer[#answer + 1] = outcome
  end
end
for name, count in pairs(counts) do redis.call('HINCRBY', stats, name, count) end
return answer
