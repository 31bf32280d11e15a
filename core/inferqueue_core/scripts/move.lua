-- move: send jobs that were set aside to the queue of their own model.
--
-- KEYS  1 delayed  2 deadlines  3 stats  4 target queue  5 its deadlines  6 its stats
-- ARGV  1 beginning of job keys  2 wake channel of the target queue, then id, new target of each job
-- Gives how many were moved: those that were still set aside, and wait.
--
-- Safe to repeat: a job that was moved is no longer set aside. A full Redis still takes it: the first write is ZREM.
local delayed, deadlines, stats, target, target_deadlines, target_stats = unpack(KEYS)
local jobs, moved = ARGV[1], 0
local was_empty = redis.call('LLEN', target) == 0
for index = 3, #ARGV, 2 do
  local id = ARGV[index]
  local status = redis.call('GET', jobs .. id .. ':status')
  if (not status or status == 'pending') and redis.call('ZREM', delayed, id) == 1 then
    local attempt = attempt_of(redis.call('GET', jobs .. id .. ':owner'))
    redis.call('SET', jobs .. id .. ':owner', attempt .. '@' .. ARGV[index + 1] .. '::', 'KEEPTTL')
    local deadline = redis.call('ZSCORE', deadlines, id)
    if deadline then
      redis.call('ZREM', deadlines, id)
      redis.call('ZADD', target_deadlines, deadline, id)
    end
    redis.call('LPUSH', target, id)
    moved = moved + 1
  end
end
if moved > 0 then
  redis.call('HINCRBY', stats, 'moved', moved)
  redis.call('HINCRBY', target_stats, 'submitted', moved)
  if was_empty then redis.call('PUBLISH', ARGV[2], moved) end
end
return moved
