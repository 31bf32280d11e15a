-- drain: lease to a worker that stops what only its version may run, wherever that waits near the front.
--
-- KEYS and ARGV: as in leasing; ARGV 9 'pinned' when workers of another version take the same data, else 'all'
-- Gives {-1, model} when the queue is that model's, else what leasing gives, its 1 being 2 when more waits than was
-- looked at. Nothing else is moved: it waits for the workers that stay. A worker that is barred from claiming may drain.
--
-- Safe to repeat: as claim is. A full Redis still drains: the first write is HDEL.
local LOOK, queue, delayed, most, which = 1000, KEYS[1], KEYS[3], tonumber(ARGV[4]), ARGV[9]
local again = ARGV[15] == '1' and hand_out_again()
if again then return again end
local other = other_owner()
if other then return { -1, other } end

local only_mine = {}
local function is_only_mine(owner)
  if not owner then return false end
  local kind = string.sub(owner, 1, -14)
  if only_mine[kind] == nil then
    local wanted_model, wanted, _, pinned = parts_of(owner)
    only_mine[kind] = wanted_model == ARGV[10] and wanted == ARGV[11] and (which == 'all' or pinned ~= '')
  end
  return only_mine[kind]
end

local found, is_delayed = {}, {}
local function look(ids, are_delayed)
  for first = 1, #ids, 64 do
    local keys = {}
    for index = first, math.min(first + 63, #ids) do keys[#keys + 1] = ARGV[1] .. ids[index] .. ':owner' end
    for nth, owner in ipairs(redis.call('MGET', unpack(keys))) do
      if #found < most and is_only_mine(owner) then
        found[#found + 1] = ids[first + nth - 1]
        is_delayed[#found] = are_delayed
      end
    end
  end
end

local at, since = now()
local undo, claimed, front_first = endings().undo, { 1, {}, {} }, {}
local waiting = redis.call('LRANGE', queue, -LOOK, -1)
for index = #waiting, 1, -1 do front_first[#front_first + 1] = waiting[index] end
look(redis.call('ZRANGE', delayed, 0, LOOK - 1), true)
look(front_first, false)
if redis.call('LLEN', queue) > LOOK or redis.call('ZCARD', delayed) > LOOK then claimed[1] = 2 end
redis.pcall('HDEL', KEYS[6], '')
lease_out(found, {}, claimed, since, false, function(done)
  -- What is taken back is so in the other order: the oldest is the last one pushed back.
  for index = 1, done do
    local id = found[index]
    if is_delayed[index] then
      redis.call('ZREM', delayed, id)
      undo('ZADD', delayed, at, id)
    elseif redis.call('LREM', queue, -1, id) == 1 then
      undo('RPUSH', queue, id)
    end
    if redis.call('SREM', KEYS[8], id) == 1 then undo('SADD', KEYS[8], id) end
  end
end)
return claimed
