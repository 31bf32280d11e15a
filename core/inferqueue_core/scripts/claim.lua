-- claim: lease jobs from the right end of the queue to one worker.
--
-- KEYS and ARGV: as in leasing; ARGV 9 how many claimers share what waits
-- Gives {0} when the worker is retired, {-1, model} when the queue is that model's, else what leasing gives. What is
-- not this worker's is set aside: it waits in `delayed`, unharmed, and is then looked at again.
--
-- Safe to repeat: sent again with its nonce and ARGV[15] = 1, it gives the jobs that the lost reply held.
-- A full Redis still drains: the first write is HDEL.
local sharers = tonumber(ARGV[9])
if again and hand_out_again() then return claimed end
if run('SISMEMBER', retired, worker) == 1 then return { 0 } end
local other = other_owner()
if other then return { -1, other } end

open(stats)
promote(queue, delayed, at)
if sharers > 1 then
  local waiting = run('LLEN', queue)
  most = math.min(most, math.max(1, math.ceil(waiting / sharers)))
end

local looked = 0
while most > 0 and #claimed == 3 and looked < 1000 do
  local ids = {}
  local waiting = run('LRANGE', queue, -most, -1)
  for index = #waiting, 1, -1 do ids[#ids + 1] = waiting[index] end
  local done = look_at(ids)
  if done == 0 then break end
  carry_out(function()
    if has_tombstones then
      local buried = {}
      undone_by[#undone_by + 1] = function()
        if #buried > 0 then redis.pcall('SADD', tombstones, unpack(buried)) end
      end
      for index = 1, done do
        if run('SREM', tombstones, ids[index]) == 1 then buried[#buried + 1] = ids[index] end
      end
    end
    run('LTRIM', queue, 0, -done - 1)
  end)
  looked = looked + done
end
return claimed
