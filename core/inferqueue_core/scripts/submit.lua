-- submit: accept groups of jobs, each group wholly or not at all.
--
-- KEYS  1 queue  2 stats  3 deadlines  4 tombstones  5 large
-- ARGV  1 beginning of job keys  2 most jobs the queue may hold (0: no limit)  3 wake channel
--       4 bytes from which on data is large
--       then for each group: number of jobs, idempotency key ('' for none), its value, its TTL (ms; 0: none, for the job
--       sets it when it ends),
--       and for each job of it: id, data, target, ms from now by which it must have started (0: no deadline)
-- Gives for each group {1, jobs ahead of its first} accepted | {0, value} the idempotency key is bound to jobs that are
--       still known | {-1, queue length} the queue is full.
--
-- Safe to repeat: a job whose status exists was accepted before and is not pushed again.
-- A full Redis refuses the first MSETNX of the script, before anything was written.
local queue, stats, deadlines, tombstones, large = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local jobs, max_length, wake, large_bytes = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local at, since = now()
local length = redis.call('LLEN', queue)
local was_empty = length == 0
if not was_empty then length = math.max(0, length - redis.call('SCARD', tombstones)) end
local ids, bindings, outcomes, pushed, counted = {}, {}, {}, 0, 0

-- When a call fails, all that this one has written is taken back.
undone_by[1] = function()
  if pushed > 0 then redis.pcall('LTRIM', KEYS[1], pushed, -1) end
  if counted > 0 then redis.pcall('HINCRBY', KEYS[2], 'submitted', -counted) end
  for _, id in ipairs(ids) do
    local key = ARGV[1] .. id
    redis.pcall('DEL', key .. ':data', key .. ':status', key .. ':owner')
    redis.pcall('ZREM', KEYS[3], id)
  end
  for idem in pairs(bindings) do redis.pcall('DEL', idem) end
end

local cursor = 5
while cursor <= #ARGV do
  local size, idem, value, first = tonumber(ARGV[cursor]), ARGV[cursor + 1], ARGV[cursor + 2], cursor + 4
  cursor = first + size * 4
  local bound = idem ~= '' and (bindings[idem] or redis.call('GET', idem))
  if bound and bound ~= value and not bindings[idem] then
    -- Where none of the jobs that a key made is known, it is free again.
    local keys = {}
    for id in string.gmatch(string.match(bound, ' (.*)$') or '', '[^,]+') do keys[#keys + 1] = jobs .. id .. ':status' end
    if #keys == 0 or redis.call('EXISTS', unpack(keys)) == 0 then bound = false end
  end
  local is_full = max_length > 0 and length + size > max_length
  if bound and bound ~= value then
    outcomes[#outcomes + 1] = { 0, bound }
  elseif is_full and redis.call('EXISTS', jobs .. ARGV[first] .. ':status') == 0 then
    outcomes[#outcomes + 1] = { -1, length }
  else
    local is_new = not is_full
    for job = first, is_new and cursor - 1 or 0, 4 do
      local id, data, deadline = ARGV[job], ARGV[job + 1], ARGV[job + 3]
      local key = jobs .. id
      -- What is owed has no time to live: a job ends, or it waits.
      local is_written = redis.call(job == first and 'MSETNX' or 'MSET', key .. ':data', data, key .. ':status', 'pending',
        key .. ':owner', '0@' .. ARGV[job + 2] .. '::' .. since)
      if is_written == 0 then
        is_new = false
        break
      end
      ids[#ids + 1] = id
      if deadline ~= '0' then redis.call('ZADD', deadlines, at + deadline, id) end
      if #data >= large_bytes then redis.call('SET', large, '1') end
    end
    if is_new and idem ~= '' then
      bindings[idem] = value
      redis.call('SET', idem, value)
      if ARGV[first - 1] ~= '0' then redis.call('PEXPIRE', idem, ARGV[first - 1]) end
    end
    outcomes[#outcomes + 1] = { 1, is_new and length or 0 }
    if is_new then length = length + size end
  end
end
if #ids == 0 then return outcomes end

redis.call('HINCRBY', stats, 'submitted', #ids)
counted = #ids
-- A few thousand at once would be more than Lua's stack holds.
while pushed < #ids do
  local last = math.min(pushed + 1000, #ids)
  redis.call('LPUSH', queue, unpack(ids, pushed + 1, last))
  pushed = last
end
if was_empty then redis.pcall('PUBLISH', wake, length) end
return outcomes
