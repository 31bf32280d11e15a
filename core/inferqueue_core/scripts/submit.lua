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
-- A full Redis refuses the first MSET of the script, before anything was written.
local queue, stats, deadlines, tombstones, large = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local jobs, max_length, wake, large_bytes = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local at = now()
local length = run('LLEN', queue)
local was_empty = length == 0
if not was_empty then length = math.max(0, length - run('SCARD', tombstones)) end

-- Whether any of the jobs that an idempotency key made is known: else it is free again.
local function is_known(bound)
  local keys = {}
  for id in string.gmatch(string.match(bound, ' (.*)$') or '', '[^,]+') do keys[#keys + 1] = jobs .. id .. ':status' end
  return #keys > 0 and run('EXISTS', unpack(keys)) > 0
end

local ids, values, due, bound_now, bindings, has_large, outcomes = {}, {}, {}, {}, {}, false, {}
local suffix = '::' .. text(at)

local function accept(first, last)
  for job = first, last, 4 do
    local id, data, deadline = ARGV[job], ARGV[job + 1], tonumber(ARGV[job + 3])
    local key, n = jobs .. id, #values
    values[n + 1], values[n + 2] = key .. ':data', data
    values[n + 3], values[n + 4] = key .. ':status', 'pending'
    values[n + 5], values[n + 6] = key .. ':owner', '0@' .. ARGV[job + 2] .. suffix
    if deadline > 0 then due[#due + 1], due[#due + 2] = text(at + deadline), id end
    if #data >= large_bytes then has_large = true end
    ids[#ids + 1] = id
  end
end

local cursor = 5
while cursor <= #ARGV do
  local size, idem, value = tonumber(ARGV[cursor]), ARGV[cursor + 1], ARGV[cursor + 2]
  local first = cursor + 4
  local bound = idem ~= '' and (bound_now[idem] or run('GET', idem))
  if bound and bound ~= value and (bound_now[idem] or is_known(bound)) then
    outcomes[#outcomes + 1] = { 0, bound }
  elseif run('EXISTS', jobs .. ARGV[first] .. ':status') == 1 then
    outcomes[#outcomes + 1] = { 1, 0 }
  elseif max_length > 0 and length + size > max_length then
    outcomes[#outcomes + 1] = { -1, length }
  else
    accept(first, first + size * 4 - 1)
    if idem ~= '' then
      bound_now[idem] = value
      bindings[#bindings + 1] = { idem, value, ARGV[cursor + 3] }
    end
    outcomes[#outcomes + 1] = { 1, length }
    length = length + size
  end
  cursor = first + size * 4
end
if #ids == 0 then return outcomes end

-- What is owed has no time to live: a job ends, or it waits.
each(values, 3000, function(first, last)
  step(function()
    for index = first, last, 2 do redis.pcall('DEL', values[index]) end
  end, 'MSET', unpack(values, first, last))
end)
each(due, 1000, function(first, last)
  step(function()
    for index = first + 1, last, 2 do redis.pcall('ZREM', deadlines, due[index]) end
  end, 'ZADD', deadlines, unpack(due, first, last))
end)
if has_large then run('SET', large, '1') end
for _, binding in ipairs(bindings) do
  step(function() redis.pcall('DEL', binding[1]) end, 'SET', binding[1], binding[2])
  if binding[3] ~= '0' then run('PEXPIRE', binding[1], binding[3]) end
end
count(stats, 'submitted', #ids)
each(ids, 1000, function(first, last)
  step(function()
    for index = first, last do redis.pcall('LREM', queue, 1, ids[index]) end
  end, 'LPUSH', queue, unpack(ids, first, last))
end)
if was_empty then try('PUBLISH', wake, length) end
return outcomes
