-- submit: accept groups of jobs, each group wholly or not at all.
--
-- KEYS  1 queue  2 stats  3 deadlines
-- ARGV  1 beginning of job keys  2 most jobs the queue may hold (0: no limit)  3 wake channel
--       then for each group: number of jobs, idempotency key ('' for none), its value, its TTL (ms),
--       and for each job of it: id, data, TTL (ms), target, ms from now by which it must have started (0: no deadline)
-- Gives for each group {1, jobs ahead of its first} accepted | {0, value} the idempotency key is bound already
--       | {-1, queue length} the queue is full.
--
-- Safe to repeat: a job whose status exists was accepted before and is not pushed again.
-- A full Redis refuses the first SET of the script, before anything was written.
local queue, stats, deadlines = KEYS[1], KEYS[2], KEYS[3]
local jobs, max_length, wake = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local length = redis.call('LLEN', queue)
local was_empty = length == 0
local ids, outcomes, at = {}, {}, nil

local cursor = 4
while cursor <= #ARGV do
  local size, idem, idem_value, idem_ttl = tonumber(ARGV[cursor]), ARGV[cursor + 1], ARGV[cursor + 2], ARGV[cursor + 3]
  local first = cursor + 4
  cursor = first + size * 5
  local bound = idem ~= '' and redis.call('GET', idem)
  if bound and bound ~= idem_value then
    outcomes[#outcomes + 1] = { 0, bound }
  elseif redis.call('EXISTS', jobs .. ARGV[first] .. ':status') == 1 then
    outcomes[#outcomes + 1] = { 1, 0 }
  elseif max_length > 0 and length + size > max_length then
    outcomes[#outcomes + 1] = { -1, length }
  else
    for job = first, cursor - 1, 5 do
      local key, ttl, deadline = jobs .. ARGV[job], ARGV[job + 2], tonumber(ARGV[job + 4])
      redis.call('SET', key .. ':data', ARGV[job + 1], 'PX', ttl)
      redis.call('SET', key .. ':status', 'pending', 'PX', ttl)
      redis.call('SET', key .. ':owner', '0@' .. ARGV[job + 3] .. '::', 'PX', ttl)
      if deadline > 0 then
        at = at or now()
        redis.call('ZADD', deadlines, at + deadline, ARGV[job])
      end
      ids[#ids + 1] = ARGV[job]
    end
    if idem ~= '' then redis.call('SET', idem, idem_value, 'PX', idem_ttl) end
    outcomes[#outcomes + 1] = { 1, length }
    length = length + size
  end
end

-- Pushed many at a time: a call of its own for each costs more than the work.
for first = 1, #ids, 500 do
  redis.call('LPUSH', queue, unpack(ids, first, math.min(first + 499, #ids)))
end
if #ids > 0 then
  redis.call('HINCRBY', stats, 'submitted', #ids)
  if was_empty then redis.call('PUBLISH', wake, length) end
end
return outcomes
