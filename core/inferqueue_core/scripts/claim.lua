-- claim: lease jobs from the right end of the queue to one worker, 1,000 at most.
--
-- KEYS and ARGV: as in leasing; ARGV 9 how many claimers share what waits
-- Gives {0} when the worker is retired, {-1, model} when the queue is that model's, else what leasing gives. What is
-- not this worker's is set aside: it waits in `delayed`, unharmed, and is then looked at again.
--
-- Safe to repeat: sent again with its nonce and ARGV[15] = 1, it gives the jobs that the lost reply held.
-- A full Redis still drains: the first write, LTRIM or HDEL, needs no memory.
local queue, tombstones, most, sharers = KEYS[1], KEYS[8], math.min(1000, tonumber(ARGV[4])), tonumber(ARGV[9])
local again = ARGV[15] == '1' and hand_out_again()
if again then return again end
-- Most calls find none of these keys, which one question tells.
local is_plain = redis.call('EXISTS', KEYS[3], KEYS[4], KEYS[5], tombstones, KEYS[9]) == 0
if not is_plain and redis.call('SISMEMBER', KEYS[5], ARGV[2]) == 1 then return { 0 } end
local other = other_owner()
if other then return { -1, other } end

local at, since = now()
if not is_plain and redis.call('EXISTS', KEYS[3]) == 1 then
  local shared = endings()
  shared.open(KEYS[6])
  shared.promote(queue, KEYS[3], at)
end
if sharers > 1 then most = math.min(most, math.max(1, math.ceil(redis.call('LLEN', queue) / sharers))) end

local claimed, considered, looked, waiting = { 1, {}, {}, nil, nil, nil }, {}, 0, nil
local function remove(done, has_tombstones)
  local first, buried = #waiting - done + 1, {}
  redis.call('LTRIM', queue, 0, -done - 1)
  undone_by[#undone_by + 1] = function()
    for _, id in ipairs(buried) do redis.pcall('SADD', tombstones, id) end
    redis.pcall('RPUSH', queue, unpack(waiting, first))
  end
  if not has_tombstones or redis.call('EXISTS', tombstones) == 0 then return end
  for index = first, #waiting do
    if redis.call('SREM', tombstones, waiting[index]) == 1 then buried[#buried + 1] = waiting[index] end
  end
end

while most > 0 and #claimed == 3 and looked < 1000 do
  waiting = redis.call('LRANGE', queue, -most, -1)
  local ids = waiting
  if #waiting > 1 then
    ids = {}
    for index = #waiting, 1, -1 do ids[#ids + 1] = waiting[index] end
  end
  local done = lease_out(ids, considered, claimed, since, is_plain, remove)
  if done == 0 then break end
  looked = looked + done
  -- What was set aside or has ended stays so, whatever fails in the next round.
  if #claimed == 3 then undone_by = {} end
end
return claimed
