-- Shared by claim and drain: whose job is it, and its lease. Both have these keys and arguments.
--
-- KEYS  1 queue  2 leases  3 delayed  4 deadlines  5 retired  6 stats  7 owning model  8 tombstones  9 large
-- ARGV  1 beginning of job keys  2 worker  3 nonce, new for every claim  4 most jobs  5 most bytes of data together; a
--       job that has more is leased alone  6 lease (ms)  7 TTL of what has ended (ms)  8 longest wait (ms)
--       9 the script's own  10 model of the worker ('': it takes whatever waits)  11 its version  12 its signature:
--       versions of one signature take the same data  13 versions that no worker serves: ',1,2,'  14 those of them that
--       are given up  15 '1' when this call is sent again because its reply was lost
-- Gives {1, {id, owner, … set aside}, {id, owner, … made for another version}, id, fence, data, id, fence, data, …};
--       a fence is '' where it is that of the job before.
local queue, leases, delayed, deadlines, retired, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local tombstones, large = KEYS[8], KEYS[9]
local jobs, worker, nonce = ARGV[1], ARGV[2], ARGV[3]
local most, max_bytes, lease, ttl, longest_wait = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8])
local model, version, signature, absent, gone = ARGV[10], ARGV[11], ARGV[12], ARGV[13], ARGV[14]
local again = ARGV[15] == '1'
local at = now()
local place = { jobs = jobs, stats = stats, delayed = delayed, deadlines = deadlines, tombstones = tombstones, at = at, ttl = ttl }
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

-- Jobs that carry no model belong to the model that the queue belongs to.
local function verdict_on(owner)
  local wanted_model, wanted, wanted_signature, pinned = parts_of(owner)
  if not wanted_model or wanted_model == '' then return OWN end
  if wanted_model ~= model then return OTHER_MODEL end
  if wanted == '' or wanted == version then return OWN end
  if pinned == '' and wanted_signature == signature and signature ~= '' then return OWN end
  local listed = ',' .. wanted .. ','
  if string.find(gone, listed, 1, true) then return ADOPTED end
  if not string.find(absent, listed, 1, true) then return OTHER_WORKER end
  return pinned ~= '' and NO_WORKER or ADOPTED
end

-- Jobs of one target that were not claimed before have the same owner but for the moment of their submit, which is its
-- last 13 digits; what follows from the rest is worked out once.
local verdicts, fences = {}, {}
local nonce_and_worker = ':' .. text(at) .. '-' .. nonce .. ':' .. worker
local function kind_of(owner)
  return owner and string.sub(owner, 1, -14) or ''
end

local function judge(owner, kind)
  if not owner or model == '' then return OWN end
  local verdict = verdicts[kind]
  if not verdict then
    verdict = verdict_on(owner)
    verdicts[kind] = verdict
  end
  return verdict
end

local function new_fence(owner, kind)
  local fence = fences[kind]
  if not fence then
    fence = attempt_of(owner) + 1 .. target_of(owner) .. nonce_and_worker
    fences[kind] = fence
  end
  return fence
end

-- Whether clients can ask for this id (JOB_ID_PATTERN); our own ids are hex, which is told at half the cost.
local function is_usable(id)
  return #id <= 128 and (string.find(id, '^%x+$') or string.find(id, '^[%w_.:-]+$'))
end

-- Most calls find none of these keys, which one question tells.
local is_plain = run('EXISTS', deadlines, tombstones, large) == 0
local has_deadlines = not is_plain and run('EXISTS', deadlines) == 1
local has_tombstones = not is_plain and run('EXISTS', tombstones) == 1
local has_large = not is_plain and run('EXISTS', large) == 1

local bytes, considered, strangers = 0, {}, 0
local deadline_of_lease = text(at + lease)
local owned, before, new_leases, aside, due, ending = {}, {}, {}, {}, {}, {}

local function lease_out(id, keys, status, owner, kind, data)
  local fence, n = new_fence(owner, kind), #owned
  owned[n + 1], owned[n + 2], owned[n + 3], owned[n + 4] = keys[2], fence, keys[1], 'processing'
  before[n + 1], before[n + 3] = owner, status
  n = #new_leases
  new_leases[n + 1], new_leases[n + 2] = deadline_of_lease, id
  hand_out(id, fence, data)
  bytes = bytes + #data
  if not owner then
    -- What a stranger has given a time to live is owed from now on.
    strangers = strangers + 1
    try('PERSIST', keys[3])
  end
end

local function put_aside(id, owner, pause)
  aside[#aside + 1], aside[#aside + 2] = pause, id
  set_aside[#set_aside + 1], set_aside[#set_aside + 2] = id, owner
end

-- What stands in the queue may not be run any more: ended, held already, without data, or too late; or it is not this
-- worker's. What was read of an id that was pushed twice is old when its second turn comes.
-- Gives false when its data is too much for this claim.
local function consider(id, keys, status, owner, data)
  if TERMINAL[status] or considered[id] then return true end
  if status == 'processing' and run('ZSCORE', leases, id) then return true end
  local deadline = has_deadlines and run('ZSCORE', deadlines, id)
  local overdue = deadline and tonumber(deadline) <= at
  local kind = kind_of(owner)
  local verdict = overdue and OWN or judge(owner, kind)
  if verdict > 0 then
    considered[id] = true
    local since = since_of(owner)
    if run('EXISTS', keys[3]) == 0 then
      ending[#ending + 1] = { id, 'expired', 'its data is gone', owner }
    elseif not deadline and since and at - since >= longest_wait then
      ending[#ending + 1] = { id, 'expired', 'it waited longer than QUEUE_TTL', owner }
    else
      put_aside(id, owner, verdict)
    end
    return true
  end
  if data == nil then
    if bytes > 0 and bytes + run('STRLEN', keys[3]) > max_bytes then return false end
    data = run('GET', keys[3])
  end
  if data and bytes > 0 and bytes + #data > max_bytes then return false end
  considered[id] = true
  if not data then
    if status then ending[#ending + 1] = { id, 'expired', 'its data is gone', owner } end
  elseif not is_usable(id) then
    ending[#ending + 1] = { id, 'failed', 'a job id is 1 to 128 letters, digits, "_", ".", ":" or "-"', owner }
  elseif overdue then
    ending[#ending + 1] = { id, 'expired', 'its deadline passed before a worker was free', owner }
  else
    if deadline then due[#due + 1] = { id, deadline } end
    if verdict == ADOPTED then adopted[#adopted + 1], adopted[#adopted + 2] = id, owner end
    lease_out(id, keys, status, owner, kind, data)
  end
  return true
end

-- Keys are read a few jobs at a time: a call for each costs more than the work, and one for all could be huge. So could
-- be the data of jobs whose size nobody knows, or of large ones: their sizes are asked for first, one by one.
-- Redis' Lua hashes every byte of each string that is made, so the keys are made once.
local CHUNK = 16
local function read(ids, first)
  local keys, data_keys, last = {}, {}, math.min(first + CHUNK - 1, #ids)
  for index = first, last do
    local key, n = jobs .. ids[index], #keys
    data_keys[#data_keys + 1] = key .. ':data'
    keys[n + 1], keys[n + 2] = key .. ':status', key .. ':owner'
  end
  local states = run('MGET', unpack(keys))
  local is_known = not has_large
  for index = 2, #states, 2 do is_known = is_known and states[index] end
  return keys, data_keys, states, is_known and run('MGET', unpack(data_keys)) or {}
end

-- Find what is to become of `ids`, the first first; gives how many of them, from the first on, that was said of.
local function look_at(ids)
  local keys, data_keys, states, data
  for index, id in ipairs(ids) do
    local nth = (index - 1) % CHUNK
    if nth == 0 then keys, data_keys, states, data = read(ids, index) end
    local own_keys = { keys[2 * nth + 1], keys[2 * nth + 2], data_keys[nth + 1] }
    if not consider(id, own_keys, states[2 * nth + 1], states[2 * nth + 2], data[nth + 1]) then return index - 1 end
  end
  return #ids
end

-- Do what was found, and then `remove` the jobs from where they waited; all of it or nothing.
local function carry_out(remove)
  for _, one in ipairs(ending) do
    local id, status, message, owner = unpack(one)
    if not owner then count(stats, 'submitted', 1) end
    end_waiting(place, id, status, message)
    has_tombstones = true
  end
  if #aside > 0 then
    local waiting = run('ZCARD', delayed)
    for index = 1, #aside, 2 do
      local id = aside[index + 1]
      local pause = math.min(LONGEST, math.max(aside[index], waiting + (index + 1) / 2))
      step(function() redis.pcall('ZREM', delayed, id) end, 'ZADD', delayed, text(at + pause), id)
    end
  end
  for _, one in ipairs(due) do
    step(function() redis.pcall('ZADD', deadlines, one[2], one[1]) end, 'ZREM', deadlines, one[1])
  end
  if strangers > 0 then count(stats, 'submitted', strangers) end
  each(owned, 4 * CHUNK, function(first, last)
    step(function()
      for index = first, last, 2 do
        if before[index] then redis.pcall('SET', owned[index], before[index]) else redis.pcall('DEL', owned[index]) end
      end
    end, 'MSET', unpack(owned, first, last))
  end)
  each(new_leases, 400, function(first, last)
    step(function()
      for index = first + 1, last, 2 do redis.pcall('ZREM', leases, new_leases[index]) end
    end, 'ZADD', leases, unpack(new_leases, first, last))
  end)
  remove()
  commit()
  owned, before, new_leases, aside, due, ending, strangers = {}, {}, {}, {}, {}, {}, 0
end

-- The jobs that a lost reply held.
local function hand_out_again()
  local mine = '-' .. nonce .. ':' .. worker
  local ids = run('ZRANGE', leases, 0, -1)
  each(ids, 64, function(first, last)
    local keys = {}
    for index = first, last do keys[#keys + 1] = jobs .. ids[index] .. ':owner' end
    for nth, owner in ipairs(run('MGET', unpack(keys))) do
      local id = ids[first + nth - 1]
      local data = owner and string.sub(owner, -#mine) == mine and run('GET', jobs .. id .. ':data')
      if data then
        if judge(owner, owner) ~= OWN then adopted[#adopted + 1], adopted[#adopted + 2] = id, owner end
        hand_out(id, owner, data)
      end
    end
  end)
  return #claimed > 3
end

-- The model that the queue belongs to, where it is another one than the worker's.
local function other_owner()
  local owner = model ~= '' and run('MGET', KEYS[7])[1]
  return owner and owner ~= model and owner
end
