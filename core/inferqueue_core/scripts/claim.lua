-- claim: lease jobs from the right end of the queue to one worker.
--
-- KEYS and ARGV: as in leasing; ARGV 8 how many claimers share what waits
-- Gives {0} when the worker is retired, {-1, model} when the queue is that model's, else what leasing gives. What is
-- not this worker's is set aside: it waits in `delayed`, unharmed, and is then looked at again.
--
-- Safe to repeat: sent again with its nonce and ARGV[14] = 1, it gives the jobs that the lost reply held.
-- A full Redis still drains: the first write is RPOP (or ZREM), which needs no memory.
local sharers = tonumber(ARGV[8])
if again and hand_out_again() then return claimed end
if redis.call('SISMEMBER', retired, worker) == 1 then return { 0 } end
local other = other_owner()
if other then return { -1, other } end

promote(queue, delayed, at)
if sharers > 1 then
  local waiting = redis.call('LLEN', queue)
  most = math.min(most, math.max(1, math.ceil(waiting / sharers)))
end

local popped = 0
while most > 0 and #claimed == 3 and popped < 1000 do
  local ids = redis.call('RPOP', queue, most)
  if not ids then break end
  popped = popped + #ids
  take(ids, function(first)
    for rest = #ids, first, -1 do redis.call('RPUSH', queue, ids[rest]) end
  end)
end
return answer()
