-- finish: store how claimed jobs ended; the only place that writes results.
--
-- KEYS  1 leases  2 stats
-- ARGV  1 beginning of job keys  2 TTL (ms)  3 what ran, `model/version/digest` ('': not told)
--       4 TTL of their Idempotency-Keys (ms)
--       then for each job: id, fence ('': that of the job before), status (completed, failed or canceled), result or
--       error message
-- Gives for each job 1 stored | 2 stored before under this fence | 0 stale: the job belongs to another attempt.
--
-- Safe to repeat: a stored job's owner reads `attempt:nonce:worker:ended…`, so the same finish is known again and changes
-- nothing. When a call fails, the jobs before are stored, the others are as they were, and the error is answered.
-- A full Redis still takes it: the first write is HDEL.
local leases, stats = KEYS[1], KEYS[2]
local jobs, ttl = ARGV[1], ARGV[2]
local ended = ':' .. text(now()) .. (ARGV[3] == '' and '' or ':' .. ARGV[3])
local answer, stored, stale = {}, {}, 0
open(stats)

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

-- Gives the error of the step that failed, after those before it were taken back.
local function store(id, owner_key, fence, status, value)
  local _, failed = try('SET', jobs .. id .. (status == 'completed' and ':result' or ':error'), value, 'PX', ttl)
  if failed then return failed end
  _, failed = try('SET', owner_key, last_owner(fence), 'PX', ttl)
  if failed then return failed end
  _, failed = try('SET', jobs .. id .. ':status', status, 'PX', ttl)
  if failed then try('SET', owner_key, fence) end
  return failed
end

local function is_ended(owner, fence)
  return string.sub(owner, 1, #fence) == fence and string.find(owner, '^:%d', #fence + 1) ~= nil
end

-- A stored job's lease goes last: the reaper frees and counts what stands behind one.
local function let_go(held, endings)
  local spent = {}
  for nth, id in ipairs(held) do spent[nth] = jobs .. id .. ':data' end
  if not try('DEL', unpack(spent)) then return end
  local counted = {}
  local is_counted = true
  for status, number in pairs(endings) do
    if try('HINCRBY', stats, status, number) then counted[status] = number else is_counted = false end
  end
  if not is_counted or not try('ZREM', leases, unpack(held)) then
    for status, number in pairs(counted) do try('HINCRBY', stats, status, -number) end
  end
end

-- Keys are read and deleted many at a time: a call of its own for each costs more than the work.
-- A request to cancel that came too late is left to its TTL: nobody asks for it once the job has ended.
local CHUNK = 4 * 64
local fence_before, failure
for first = 5, #ARGV, CHUNK do
  local last = math.min(first + CHUNK - 1, #ARGV)
  local owner_keys, fences, held, held_by, statuses, endings = {}, {}, {}, {}, {}, {}
  for index = first, last, 4 do
    owner_keys[#owner_keys + 1] = jobs .. ARGV[index] .. ':owner'
    if ARGV[index + 1] ~= '' then fence_before = ARGV[index + 1] end
    fences[#owner_keys] = fence_before
  end
  local owners
  owners, failure = try('MGET', unpack(owner_keys))
  for nth, owner in ipairs(owners or {}) do
    local index = first + (nth - 1) * 4
    local id, fence, status = ARGV[index], fences[nth], ARGV[index + 2]
    local outcome = 2
    if owner == fence and not stored[id] then
      failure = store(id, owner_keys[nth], fence, status, ARGV[index + 3])
      if failure then break end
      outcome, stored[id] = 1, true
      local n = #held + 1
      held[n], held_by[n], statuses[n] = id, fence, status
      endings[status] = (endings[status] or 0) + 1
    elseif owner ~= fence and not (owner and is_ended(owner, without_target(fence))) then
      outcome = 0
      stale = stale + 1
    end
    answer[#answer + 1] = outcome
  end
  if #held > 0 then let_go(held, endings) end
  for nth, id in ipairs(held) do
    keep_idempotency(jobs, held_by[nth], ARGV[4])
    announce(jobs, id, statuses[nth])
  end
  if failure then break end
end
if stale > 0 then try('HINCRBY', stats, 'stale', stale) end
return failure or answer
