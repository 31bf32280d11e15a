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
--
-- The functions read KEYS and ARGV themselves: a local of theirs costs less than one that they share.

local function parts_of(owner)
  return string.match(owner, '^%d+@[^/:]*/([^/:]*)/([^/:]*)/([^/:]*)/([^/:]*)')
end

-- verdict_on(owner): 0: the job is the worker's own | -1: another version's that is given up, which this one takes over |
-- else it is set aside, for so many ms. Jobs that carry no model belong to the model that the queue belongs to.
local function verdict_on(owner)
  local OTHER_MODEL, NO_WORKER, OTHER_WORKER = 5000, 1000, 100
  local version, signature, absent, gone = ARGV[11], ARGV[12], ARGV[13], ARGV[14]
  local wanted_model, wanted, wanted_signature, pinned = parts_of(owner)
  if not wanted_model or wanted_model == '' then return 0 end
  if wanted_model ~= ARGV[10] then return OTHER_MODEL end
  if wanted == '' or wanted == version then return 0 end
  if pinned == '' and wanted_signature == signature and signature ~= '' then return 0 end
  local listed = ',' .. wanted .. ','
  if string.find(gone, listed, 1, true) then return -1 end
  if not string.find(absent, listed, 1, true) then return OTHER_WORKER end
  return pinned ~= '' and NO_WORKER or -1
end

-- hand_out_again(): the answer with the jobs that a lost reply held; nil when it held none.
local function hand_out_again()
  local jobs, model, mine = ARGV[1], ARGV[10], '-' .. ARGV[3] .. ':' .. ARGV[2]
  local ids = redis.call('ZRANGE', KEYS[2], 0, -1)
  local claimed, adopted = { 1, {}, {} }, {}
  claimed[3] = adopted
  for first = 1, #ids, 64 do
    local keys = {}
    for index = first, math.min(first + 63, #ids) do keys[#keys + 1] = jobs .. ids[index] .. ':owner' end
    for nth, owner in ipairs(redis.call('MGET', unpack(keys))) do
      local id = ids[first + nth - 1]
      local data = owner and string.sub(owner, -#mine) == mine and redis.call('GET', jobs .. id .. ':data')
      if data then
        if model ~= '' and verdict_on(owner) ~= 0 then adopted[#adopted + 1], adopted[#adopted + 2] = id, owner end
        local n = #claimed
        claimed[n + 1], claimed[n + 2], claimed[n + 3] = id, owner, data
      end
    end
  end
  return #claimed > 3 and claimed
end

-- The model that the queue belongs to, where it is another one than the worker's.
local function other_owner()
  local model = ARGV[10]
  local owner = model ~= '' and redis.call('MGET', KEYS[7])[1]
  return owner and owner ~= model and owner
end

-- turn_away(...): end what cannot run, and set aside what is not this worker's.
local function turn_away(at, ending, others, set_aside)
  local jobs, stats, delayed, LONGEST = ARGV[1], KEYS[6], KEYS[3], 30000
  local shared = endings()
  local place = { jobs = jobs, stats = stats, delayed = delayed, deadlines = KEYS[4], tombstones = KEYS[8], at = at, ttl = ARGV[7] }
  local aside = {}
  for _, other in ipairs(others) do
    local id, owner, pause, deadline = unpack(other)
    local since = shared.since_of(owner)
    if redis.call('EXISTS', jobs .. id .. ':data') == 0 then
      ending[#ending + 1] = { id, 'expired', 'its data is gone', owner }
    elseif not deadline and since and at - since >= tonumber(ARGV[8]) then
      ending[#ending + 1] = { id, 'expired', 'it waited longer than QUEUE_TTL', owner }
    else
      aside[#aside + 1] = { id, owner, pause }
    end
  end
  shared.open(stats)
  for _, one in ipairs(ending) do
    local id, status, message, owner = unpack(one)
    if not owner then shared.count(stats, 'submitted', 1) end
    shared.end_waiting(place, id, status, message)
  end
  -- How long they wait until they are looked at again: no longer than LONGEST, and so long that they are looked at a
  -- thousand times a second at most, however many they are.
  local waiting = redis.call('ZCARD', delayed)
  for nth, one in ipairs(aside) do
    local id, owner, pause = unpack(one)
    redis.call('ZADD', delayed, at + math.min(LONGEST, math.max(pause, waiting + nth)), id)
    shared.undo('ZREM', delayed, id)
    set_aside[#set_aside + 1], set_aside[#set_aside + 2] = id, owner
  end
end

-- lease_out(...): find what is to become of `ids`, the first first, and do it, all of it or nothing. Gives how many of them
-- that was said of: what is left is too much for this claim. `remove(done, has_tombstones)` takes those from where they
-- waited, and their tombstones where there may be any.
-- Jobs may not be run that have ended, are held already, without data, or too late; or that are not this worker's.
local function lease_out(ids, considered, claimed, since, is_plain, remove)
  local at = tonumber(since)
  local jobs, leases, deadlines, stats, max_bytes = ARGV[1], KEYS[2], KEYS[4], KEYS[6], tonumber(ARGV[5])
  local has_deadlines = not is_plain and redis.call('EXISTS', deadlines) == 1
  local has_large = not is_plain and redis.call('EXISTS', KEYS[9]) == 1
  local first_claimed, bytes, strangers = #claimed + 1, 0, 0
  local owned, new_leases, due, ending, others

  -- Keys are read a few jobs at a time: a call for each costs more than the work, and one for all could be huge. So could
  -- be the data of jobs whose size nobody knows, or of large ones: their sizes are asked for first, one by one.
  -- Redis' Lua hashes every byte of each string that is made, so the keys are made once.
  local CHUNK, done = 16, #ids
  local keys, data_keys, states, values
  -- Jobs of one target that were not claimed before have the same owner but for the moment of their submit, which is its
  -- last 13 digits; what follows from the rest is worked out once for those that follow one another.
  local last_kind, verdict, fence, last_fence
  for index, id in ipairs(ids) do
    local nth = (index - 1) % CHUNK + 1
    if done == 1 then
      local key = jobs .. id
      keys, data_keys = { key .. ':status', key .. ':owner' }, { key .. ':data' }
      states = redis.call('MGET', keys[1], keys[2], data_keys[1])
      values = { states[3] }
    elseif nth == 1 then
      keys, data_keys = {}, {}
      for other = index, math.min(index + CHUNK - 1, done) do
        local key, n = jobs .. ids[other], #keys
        keys[n + 1], keys[n + 2] = key .. ':status', key .. ':owner'
        data_keys[#data_keys + 1] = key .. ':data'
      end
      states = redis.call('MGET', unpack(keys))
      local is_known = not has_large
      for owner = 2, #states, 2 do is_known = is_known and states[owner] end
      values = is_known and redis.call('MGET', unpack(data_keys)) or {}
    end

    local status, owner, data = states[2 * nth - 1], states[2 * nth], values[nth]
    -- What was read of an id that was pushed twice is old when its second turn comes: it is considered once.
    local may_run = not considered[id]
    if status == 'processing' then
      may_run = may_run and not redis.call('ZSCORE', leases, id)
    elseif status == 'completed' or status == 'failed' or status == 'canceled' or status == 'expired' then
      may_run = false
    end
    if may_run then
      local deadline = has_deadlines and redis.call('ZSCORE', deadlines, id)
      local is_overdue = deadline and tonumber(deadline) <= at
      local kind = owner and string.sub(owner, 1, -14) or ''
      if kind ~= last_kind then
        last_kind, verdict, fence = kind, owner and ARGV[10] ~= '' and verdict_on(owner) or 0, nil
      end
      if verdict > 0 and not is_overdue then
        others = others or {}
        others[#others + 1] = { id, owner, verdict, deadline }
      else
        if data == nil and (bytes == 0 or bytes + redis.call('STRLEN', data_keys[nth]) <= max_bytes) then
          data = redis.call('GET', data_keys[nth])
        end
        if data == nil or data and bytes > 0 and bytes + #data > max_bytes then
          done = index - 1
          break
        end
        local error
        if not data then
          error = status and 'its data is gone'
        -- Whether clients can ask for this id (JOB_ID_PATTERN); our own ids are hex, which is told at half the cost.
        elseif #id > 128 or not (string.find(id, '^%x+$') or string.find(id, '^[%w_.:-]+$')) then
          error = 'a job id is 1 to 128 letters, digits, "_", ".", ":" or "-"'
        elseif is_overdue then
          error = 'its deadline passed before a worker was free'
        end
        if error then
          ending = ending or {}
          ending[#ending + 1] = { id, data and not is_overdue and 'failed' or 'expired', error, owner }
        elseif data then
          if not fence then
            local attempt, target = string.match(owner or '', '^(%d+)(@[^:]*):')
            attempt = (attempt or string.match(owner or '', '^(%d+):') or 0) + 1
            fence = attempt .. (target or '') .. ':' .. since .. '-' .. ARGV[3] .. ':' .. ARGV[2]
          end
          local n = #claimed
          claimed[n + 1], claimed[n + 2], claimed[n + 3] = id, fence == last_fence and '' or fence, data
          last_fence, bytes = fence, bytes + #data
          local owner_key, status_key = keys[2 * nth], keys[2 * nth - 1]
          if not owned then
            owned, new_leases = { owner_key, fence, status_key, 'processing' }, { at + ARGV[6], id }
          else
            n = #owned
            owned[n + 1], owned[n + 2], owned[n + 3], owned[n + 4] = owner_key, fence, status_key, 'processing'
            n = #new_leases
            new_leases[n + 1], new_leases[n + 2] = new_leases[1], id
          end
          if deadline then
            due = due or {}
            due[#due + 1], due[#due + 2] = deadline, id
          end
          if verdict < 0 then
            local adopted = claimed[3]
            adopted[#adopted + 1], adopted[#adopted + 2] = id, owner
          end
          if not owner then
            -- What a stranger has given a time to live is owed from now on.
            strangers = strangers + 1
            redis.pcall('PERSIST', data_keys[nth])
          end
        end
      end
      considered[id] = true
    end
  end

  if ending or others then turn_away(at, ending or {}, others or {}, claimed[2]) end
  if done > 0 then remove(done, not is_plain or ending or others) end
  if not owned then return done end
  local counted = 0
  undone_by[#undone_by + 1] = function()
    if counted > 0 then redis.pcall('HINCRBY', stats, 'submitted', -counted) end
    for index = first_claimed, #claimed, 3 do redis.pcall('ZREM', leases, claimed[index]) end
    if due then redis.pcall('ZADD', deadlines, unpack(due)) end
  end
  if due then
    for index = 2, #due, 2 do redis.call('ZREM', deadlines, due[index]) end
  end
  redis.call('ZADD', leases, unpack(new_leases))
  if strangers > 0 then
    redis.call('HINCRBY', stats, 'submitted', strangers)
    counted = strangers
  end
  redis.call('MSET', unpack(owned))
  return done
end
