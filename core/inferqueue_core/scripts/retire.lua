-- retire: bar idle workers from claiming, so that they can be stopped without harm.
--
-- KEYS  1 leases  2 retired
-- ARGV  1 beginning of job keys  2 after how long nobody is barred any more (ms), then workers
-- Gives those of them that hold no job and are now barred, in one step with the check.
--
-- Safe to repeat: an idle worker that is barred already is named again. A full Redis still takes it: SREM comes first.
-- Who barred them may die before it stops them or lets them go: the bar ends by itself, unless it is said again.
local leases, retired = KEYS[1], KEYS[2]
local busy, idle = {}, {}
local held = redis.call('ZRANGE', leases, 0, -1)
for first = 1, #held, 64 do
  local keys = {}
  for index = first, math.min(first + 63, #held) do keys[#keys + 1] = ARGV[1] .. held[index] .. ':owner' end
  for _, owner in ipairs(redis.call('MGET', unpack(keys))) do
    local worker = is_fence(owner) and string.match(owner, '([^:]*)$')
    if worker then busy[worker] = true end
  end
end
for index = 3, #ARGV do
  if not busy[ARGV[index]] then idle[#idle + 1] = ARGV[index] end
end
if #idle == 0 then return idle end
redis.pcall('SREM', retired, unpack(idle))
redis.call('SADD', retired, unpack(idle))
undone_by[1] = function() redis.pcall('SREM', retired, unpack(idle)) end
redis.call('PEXPIRE', retired, ARGV[2])
return idle
