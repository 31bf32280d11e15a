-- move: send jobs that were set aside to the queue of their own model.
--
-- KEYS  1 delayed  2 deadlines  3 stats  4 target queue  5 its deadlines  6 its stats  7 large of the target queue
-- ARGV  1 beginning of job keys  2 wake channel of the target queue  3 bytes from which on data is large
--       then id, new target of each job
-- Gives how many were moved: those that were still set aside, and wait.
--
-- Safe to repeat: a job that was moved is no longer set aside. A full Redis still takes it: the first write is HDEL.
local delayed, deadlines, stats, target, target_deadlines, target_stats, target_large = unpack(KEYS)
local jobs, moved, at = ARGV[1], 0, now()
local was_empty = redis.call('LLEN', target) == 0
open(stats)
for index = 4, #ARGV, 2 do
  local id = ARGV[index]
  local key = jobs .. id
  local status, owner = redis.call('GET', key .. ':status'), redis.call('GET', key .. ':owner')
  if status == 'pending' and redis.call('ZSCORE', delayed, id) then
    local deadline = redis.call('ZSCORE', deadlines, id)
    if deadline then
      redis.call('ZADD', target_deadlines, deadline, id)
      undo('ZREM', target_deadlines, id)
    end
    if redis.call('STRLEN', key .. ':data') >= tonumber(ARGV[3]) then redis.call('SET', target_large, '1') end
    count(stats, 'moved', 1)
    count(target_stats, 'submitted', 1)
    push(target, 'LPUSH', id)
    local new_target = '@' .. ARGV[index + 1] .. digest_of(owner)
    put_back(key, waiting_owner(attempt_of(owner), new_target, since_of(owner) or at), owner, 'pending')
    drop(delayed, id)
    drop(deadlines, id)
    commit()
    moved = moved + 1
  end
end
if moved > 0 and was_empty then redis.pcall('PUBLISH', ARGV[2], moved) end
return moved
