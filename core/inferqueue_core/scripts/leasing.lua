-- Shared by claim and drain: whose job is it, and its lease. Both have these keys and arguments.
--
-- KEYS  1 queue  2 leases  3 delayed  4 deadlines  5 retired  6 stats  7 owning model
-- ARGV  1 beginning of job keys  2 worker  3 nonce, new for every claim  4 most jobs  5 bytes of data after which no
--       further job is added  6 lease (ms)  7 TTL (ms)  8 the script's own
--       9 model of the worker ('': it takes whatever waits)  10 its version  11 its signature: versions of one
--       signature take the same data  12 versions that no worker serves: ',1,2,'  13 those of them that are given up
--       14 '1' when this call is sent again because its reply was lost
-- Gives {1, {id, owner, … set aside}, {id, owner, … made for another version}, id, fence, data, id, fence, data, …};
--       a fence is '' where it is that of the job before.
local queue, leases, delayed, deadlines, retired, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local jobs, worker, nonce = ARGV[1], ARGV[2], ARGV[3]
local most, max_bytes, lease, ttl = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local model, version, signature, absent, gone = ARGV[9], ARGV[10], ARGV[11], ARGV[12], ARGV[13]
local again = ARGV[14] == '1'
local at = now()
local set_aside, adopted = {}, {}
local claimed = { 1, set_aside, adopted }

local last_fence
local function hand_out(id, fence, data)
  local n = #claimed
  claimed[n + 1], claimed[n + 2], claimed[n + 3] = id, fence == last_fence and '' or fence, data
  last_fence = fence
end

-- How long (ms) a job waits until it is looked at again that is another model's, another version's that no worker
-- serves, or another version's whose worker may come by any moment. No longer than LONGEST, and so long that the
-- jobs set aside are looked at a thousand times a second at most, however many they are.
local OTHER_MODEL, NO_WORKER, OTHER_WORKER, LONGEST = 5000, 1000, 100, 30000
local OWN, ADOPTED = 0, -1

local function parts_of(owner)
  return string.match(owner, '^%d+@[^/:]*/([^/:]*)/([^/:]*)/([^/:]*)/([^/:]*)')
end

-- Jobs that carry no model belong to whoever the queue belongs to.
local function verdict_on(owner)
  local wanted_model, wanted, wanted_signature, pinned = parts_of(owner)
  if not wanted_model or wanted_model == '' then return OWN end
  if wanted_model ~= model then return OTHER_MODEL end
  if wanted == '' or wanted == version then return OWN end
  if pinned == '' and wanted_signature == signature and signature ~= '' then return OWN end
  local place = ',' .. wanted .. ','
  if string.find(gone, place, 1, true) then return ADOPTED end
  if not string.find(absent, place, 1, true) then return OTHER_WORKER end
  return pinned ~= '' and NO_WORKER or ADOPTED
end

-- All jobs of one target that were not claimed before have the same owner, which is read once.
local verdicts = {}
local function judge(owner)
  if not owner or model == '' then return OWN end
  local verdict = verdicts[owner]
  if not verdict then
    verdict = verdict_on(owner)
    verdicts[owner] = verdict
  end
  return verdict
end

local aside
local function put_aside(id, owner, pause)
  aside = (aside or redis.call('ZCARD', delayed)) + 1
  redis.call('ZADD', delayed, string.format('%.0f', at + math.min(LONGEST, math.max(pause, aside))), id)
  set_aside[#set_aside + 1], set_aside[#set_aside + 2] = id, owner
end

-- Numbers become strings once: for every job it costs as much as a lookup.
local nonce_and_worker = ':' .. string.format('%.0f', at) .. '-' .. nonce .. ':' .. worker
local deadline_of_lease = string.format('%.0f', at + lease)
local fences = { [false] = '1' .. nonce_and_worker }
local has_deadlines = redis.call('EXISTS', deadlines) == 1
local bytes, new_leases, considered = 0, {}, {}

-- The status keeps the TTL that it has from its submission, as the data does: heartbeats lengthen both, and whatever
-- ends the attempt sets it anew. That of a stranger's job, which has none, gets one so.
local function lease_out(id, status_key, owner_key, owner, data)
  local fence = fences[owner]
  if not fence then
    fence = attempt_of(owner) + 1 .. target_of(owner) .. nonce_and_worker
    fences[owner] = fence
  end
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

-- What was taken from the queue may not be run any more: ended, held already, without data, or too late; or it is not
-- this worker's. What was read of an id that was pushed twice is old when its second turn comes.
local function consider(id, status_key, owner_key, status, owner, data)
  if TERMINAL[status] or considered[id] then return end
  considered[id] = true
  if status == 'processing' and redis.call('ZSCORE', leases, id) then return end
  local deadline = has_deadlines and redis.call('ZSCORE', deadlines, id)
  local overdue = deadline and tonumber(deadline) <= at
  local verdict = data and not overdue and judge(owner) or OWN
  if verdict > 0 then return put_aside(id, owner, verdict) end
  if deadline then redis.call('ZREM', deadlines, id) end
  if not data then
    if status then end_job(jobs, stats, id, 'expired', 'its data outlived JOB_TTL in the queue', ttl) end
  elseif not is_usable(id) then
    end_job(jobs, stats, id, 'failed', 'a job id is 1 to 128 letters, digits, "_", ".", ":" or "-"', ttl)
  elseif overdue then
    end_job(jobs, stats, id, 'expired', 'its deadline passed before a worker was free', ttl)
  else
    if verdict == ADOPTED then adopted[#adopted + 1], adopted[#adopted + 2] = id, owner end
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

-- Lease out `ids`, the first first; `put_back` gets the index from which on they are too much for one claim.
local function take(ids, put_back)
  local keys, values
  for index, id in ipairs(ids) do
    if bytes >= max_bytes then return put_back(index) end
    local place = (index - 1) % CHUNK * 3
    if place == 0 then keys, values = read(ids, index) end
    consider(id, keys[place + 1], keys[place + 2], values[place + 1], values[place + 2], values[place + 3])
  end
end

local function answer()
  for first = 1, #new_leases, 200 do
    redis.call('ZADD', leases, unpack(new_leases, first, math.min(first + 199, #new_leases)))
  end
  return claimed
end

-- The jobs that a lost reply held.
local function hand_out_again()
  local mine = '-' .. nonce .. ':' .. worker
  for _, id in ipairs(redis.call('ZRANGE', leases, 0, -1)) do
    local owner = redis.call('GET', jobs .. id .. ':owner')
    if owner and string.sub(owner, -#mine) == mine then
      local data = redis.call('GET', jobs .. id .. ':data')
      if data then
        if judge(owner) ~= OWN then adopted[#adopted + 1], adopted[#adopted + 2] = id, owner end
        hand_out(id, owner, data)
      end
    end
  end
  return #claimed > 3
end

-- The model that the queue belongs to, where it is another one than the worker's.
local function other_owner()
  local owner = model ~= '' and redis.call('MGET', KEYS[7])[1]
  return owner and owner ~= model and owner
end
