-- redrive: put dead letters back into the queue with all their attempts.
--
-- KEYS  1 queue  2 dead  3 stats
-- ARGV  1 beginning of job keys  2 TTL (ms)  3 wake channel, then ids
-- Gives for each id 1 waits again | 0 its data is gone, it was taken off the list | -1 it is no dead letter.
--
-- Safe to repeat: a job that waits again is no longer on the list. A full Redis still takes it: LREM comes first.
local queue, dead, stats = KEYS[1], KEYS[2], KEYS[3]
local jobs, ttl = ARGV[1], ARGV[2]
local was_empty = redis.call('LLEN', queue) == 0
local answer, redriven = {}, 0
for index = 4, #ARGV do
  local id = ARGV[index]
  local key = jobs .. id
  if redis.call('LREM', dead, 0, id) == 0 then
    answer[#answer + 1] = -1
  elseif redis.call('PEXPIRE', key .. ':data', ttl) == 0 then
    answer[#answer + 1] = 0
  else
    local target = target_of(redis.call('GET', key .. ':owner'))
    redis.call('DEL', key .. ':owner', key .. ':error')
    if target ~= '' then redis.call('SET', key .. ':owner', '0' .. target .. '::', 'PX', ttl) end
    redis.call('SET', key .. ':status', 'pending', 'PX', ttl)
    redis.call('LPUSH', queue, id)
    announce(jobs, id, 'pending')
    redriven = redriven + 1
    answer[#answer + 1] = 1
  end
end
if redriven > 0 then
  redis.call('HINCRBY', stats, 'redriven', redriven)
  if was_empty then redis.call('PUBLISH', ARGV[3], redriven) end
end
return answer
