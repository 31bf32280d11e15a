-- drain: lease to a worker that stops what only its version may run, wherever that waits near the front.
--
-- KEYS and ARGV: as in leasing; ARGV 9 'pinned' when workers of another version take the same data, else 'all'
-- Gives {-1, model} when the queue is that model's, else what leasing gives, its 1 being 2 when more waits than was
-- looked at. Nothing else is moved: it waits for the workers that stay. A worker that is barred from claiming may drain.
--
-- Safe to repeat: as claim is. A full Redis still drains: the first write is HDEL.
local LOOK, which = 1000, ARGV[9]
if again and hand_out_again() then return claimed end
local other = other_owner()
if other then return { -1, other } end

local only_mine = {}
local function is_only_mine(owner)
  if not owner then return false end
  local kind = kind_of(owner)
  if only_mine[kind] == nil then
    local wanted_model, wanted, _, pinned = parts_of(owner)
    only_mine[kind] = wanted_model == model and wanted == version and (which == 'all' or pinned ~= '')
  end
  return only_mine[kind]
end

local found, removals = {}, {}
local function look(ids, removal)
  each(ids, 64, function(first, last)
    local keys = {}
    for index = first, last do keys[#keys + 1] = jobs .. ids[index] .. ':owner' end
    for nth, owner in ipairs(run('MGET', unpack(keys))) do
      if #found < most and is_only_mine(owner) then
        found[#found + 1] = ids[first + nth - 1]
        removals[#found] = removal
      end
    end
  end)
end

open(stats)
local waiting = run('LRANGE', queue, -LOOK, -1)
local front_first = {}
for index = #waiting, 1, -1 do front_first[#front_first + 1] = waiting[index] end
look(run('ZRANGE', delayed, 0, LOOK - 1), function(id)
  step(function() redis.pcall('ZADD', delayed, text(at), id) end, 'ZREM', delayed, id)
end)
look(front_first, function(id)
  if run('LREM', queue, -1, id) == 1 then
    undone_by[#undone_by + 1] = function() redis.pcall('RPUSH', queue, id) end
  end
  run('SREM', tombstones, id)
end)
if run('LLEN', queue) > LOOK or run('ZCARD', delayed) > LOOK then claimed[1] = 2 end
local done = look_at(found)
carry_out(function()
  -- Undone in the other order: the oldest is the last one pushed back.
  for index = 1, done do removals[index](found[index]) end
end)
return claimed
