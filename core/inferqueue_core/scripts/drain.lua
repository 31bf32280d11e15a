-- drain: lease to a worker that stops what only its version may run, wherever that waits near the front.
--
-- KEYS and ARGV: as in leasing; ARGV 8 'pinned' when workers of another version take the same data, else 'all'
-- Gives {-1, model} when the queue is that model's, else what leasing gives, its 1 being 2 when more waits than was
-- looked at. Nothing else is moved: it waits for the workers that stay. A worker that is barred from claiming may drain.
--
-- Safe to repeat: as claim is. A full Redis still drains: the first write is ZREM or LREM.
local LOOK, which = 1000, ARGV[8]
if again and hand_out_again() then return claimed end
local other = other_owner()
if other then return { -1, other } end

local only_mine = {}
local function is_only_mine(owner)
  if not owner then return false end
  if only_mine[owner] == nil then
    local wanted_model, wanted, _, pinned = parts_of(owner)
    only_mine[owner] = wanted_model == model and wanted == version and (which == 'all' or pinned ~= '')
  end
  return only_mine[owner]
end

local found = {}
local function look(ids, remove)
  for first = 1, #ids, 64 do
    local keys = {}
    for index = first, math.min(first + 63, #ids) do keys[#keys + 1] = jobs .. ids[index] .. ':owner' end
    for nth, owner in ipairs(redis.call('MGET', unpack(keys))) do
      local id = ids[first + nth - 1]
      if #found < most and is_only_mine(owner) and remove(id) > 0 then found[#found + 1] = id end
    end
  end
end

local waiting = redis.call('LRANGE', queue, -LOOK, -1)
local front_first = {}
for index = #waiting, 1, -1 do front_first[#front_first + 1] = waiting[index] end
look(redis.call('ZRANGE', delayed, 0, LOOK - 1), function(id) return redis.call('ZREM', delayed, id) end)
look(front_first, function(id) return redis.call('LREM', queue, -1, id) end)
if redis.call('LLEN', queue) > LOOK or redis.call('ZCARD', delayed) > LOOK then claimed[1] = 2 end
take(found, function(first)
  for rest = #found, first, -1 do redis.call('RPUSH', queue, found[rest]) end
end)
return answer()
