-- retire: bar idle workers from claiming, so that they can be stopped without harm.
--
-- KEYS  1 leases  2 retired
-- ARGV  1 beginning of job keys  2 after how long nobody is barred any more (ms), then workers
-- Gives those of them that hold no job and are now barred, in one step with the check.
--
-- Safe to repeat: an idle worker that is barred already is named again. A full Redis still takes it: SREM comes first.
-- Whoever barred them may die before it stops them or lets them go: the bar ends by itself, unless it is said again.
local leases, retired = KEYS[1], KEYS[2]
local busy, idle = {}, {}
for _, id in ipairs(redis.call('ZRANGE', leases, 0, -1)) do
  local owner = redis.call('GET', ARGV[1] .. id .. ':owner')
  local worker = owner and string.match(owner, '^[^:]*:[^:]*:([^:]*)')
  if worker then busy[worker] = true end
end
for index = 3, #ARGV do
  local worker = ARGV[index]
  if not busy[worker] then
    redis.call('SREM', retired, worker)
    redis.call('SADD', retired, worker)
    idle[#idle + 1] = worker
  end
end
if #idle > 0 then redis.call('PEXPIRE', retired, ARGV[2]) end
return idle
