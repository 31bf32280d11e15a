-- claim: lease jobs from the right end of the queue to one worker.
--
-- KEYS  1 queue  2 leases  3 delayed  4 deadlines  5 retired  6 stats
-- ARGV  1 beginning of job keys  2 worker  3 nonce, new for every claim  4 most jobs  5 bytes of data after which no
--       further job is added  6 lease (ms)  7 TTL (ms)  8 how many claimers share what waits  9 '1' when this claim
--       is sent again because its reply was lost
-- Gives {0} when the worker is retired, else {1, id, fence, data, id, fence, data, …}.
--
-- Safe to repeat: sent again with its nonce and ARGV[9] = 1, it gives the jobs that the lost reply held.
-- A full Redis still drains: the first write is RPOP (or ZREM), which needs no memory.
local queue, leases, delayed, deadlines, retired, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local jobs, worker, nonce = ARGV[1], ARGV[2], ARGV[3]
local most, max_bytes, lease, ttl = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local sharers, again = tonumber(ARGV[8]), ARGV[9] == '1'
local claimed = { 1 }

local function hand_out(id, fence, data)
  local n = #claimed
  claimed[n + 1], claimed[n + 2], claimed[n + 3] = id, fence, data
end

if again then
  local mine = '-' .. nonce .. ':' .. worker
  for _, id in ipairs(redis.call('ZRANGE', leases, 0, -1)) do
    local owner = redis.call('GET', jobs .. id .. ':owner')
    if owner and string.sub(owner, -#mine) == mine then
      local data = redis.call('GET', jobs .. id .. ':data')
      if data then hand_out(id, owner, data) end
    end
  end
  if #claimed > 1 then return claimed end
end
if redis.call('SISMEMBER', retired, worker) == 1 then return { 0 } end

local at = now()
promote(queue, delayed, at)
local has_deadlines = redis.call('EXISTS', deadlines) == 1
if sharers > 1 then
  local waiting = redis.call('LLEN', queue)
  most = math.min(most, math.max(1, math.ceil(waiting / sharers)))
end

-- Numbers become strings once: for every job it costs as much as a lookup.
local nonce_and_worker = ':' .. string.format('%.0f', at) .. '-' .. nonce .. ':' .. worker
local first_fence, deadline_of_lease = '1' .. nonce_and_worker, string.format('%.0f', at + lease)
local bytes, new_leases, considered = 0, {}, {}

-- The status keeps the TTL that it has from its submission, as the data does: heartbeats lengthen both, and whatever
-- ends the attempt sets it anew. That of a stranger's job, which has none, gets one so.
local function lease_out(id, status_key, owner_key, owner, data)
  local fence = owner and attempt_of(owner) + 1 .. nonce_and_worker or first_fence
  redis.call('SET', owner_key, fence, 'PX', ttl)
  redis.call('SET', status_key, 'processing', 'KEEPTTL')
  local n = #new_leases
  new_leases[n + 1], new_leases[n + 2] = deadline_of_lease, id
  hand_out(id, fence, data)
  bytes = bytes + #data
end

-- Whether clients can ask for this id (JOB_ID_PATTERN); our own ids are hex, which is told at half the cost.
local function is_usable(id)
  return #id <= 128 and (string.find(id, '^%x+$') or string.find(id, '^[%w_.:-]+$'))
end

-- What was popped may not be run any more: ended, held already, without data, or too late. What was read of an id that
-- was pushed twice is old when its second turn comes.
local function consider(id, status_key, owner_key, status, owner, data)
  if TERMINAL[status] or considered[id] then return end
  considered[id] = true
  if status == 'processing' and redis.call('ZSCORE', leases, id) then return end
  local deadline = has_deadlines and redis.call('ZSCORE', deadlines, id)
  if deadline then redis.call('ZREM', deadlines, id) end
  if not data then
    if status then end_job(jobs, stats, id, 'expired', 'its data outlived JOB_TTL in the queue', ttl) end
  elseif not is_usable(id) then
    end_job(jobs, stats, id, 'failed', 'a job id is 1 to 128 letters, digits, "_", ".", ":" or "-"', ttl)
  elseif deadline and tonumber(deadline) <= at then
    end_job(jobs, stats, id, 'expired', 'its deadline passed before a worker was free', ttl)
  else
    lease_out(id, status_key, owner_key, owner, data)
  end
end

-- Keys are read a few jobs at a time: a call for each costs more than the work, and one for all could be huge.
-- Redis' Lua hashes every byte of each string that is made, so the keys are made once.
local CHUNK = 16
local function read(ids, first)
  local keys = {}
  for index = first, math.min(first + CHUNK - 1, #ids) do
    local id, n = ids[index], #keys
    keys[n + 1], keys[n + 2], keys[n + 3] = jobs .. id .. ':status', jobs .. id .. ':owner', jobs .. id .. ':data'
  end
  return keys, redis.call('MGET', unpack(keys))
end

local function take(ids)
  local keys, values
  for index, id in ipairs(ids) do
    if bytes >= max_bytes then
      for rest = #ids, index, -1 do redis.call('RPUSH', queue, ids[rest]) end
      return
    end
    local place = (index - 1) % CHUNK * 3
    if place == 0 then keys, values = read(ids, index) end
    consider(id, keys[place + 1], keys[place + 2], values[place + 1], values[place + 2], values[place + 3])
  end
end

local popped = 0
while most > 0 and #claimed == 1 and popped < 1000 do
  local ids = redis.call('RPOP', queue, most)
  if not ids then break end
  popped = popped + #ids
  take(ids)
end

for first = 1, #new_leases, 200 do
  redis.call('ZADD', leases, unpack(new_leases, first, math.min(first + 199, #new_leases)))
end
return claimed
