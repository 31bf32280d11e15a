-- redrive: put dead letters back into the queue with all their attempts.
--
-- KEYS  1 queue  2 dead  3 dead sizes  4 stats
-- ARGV  1 beginning of job keys  2 wake channel, then ids
-- Gives for each id 1 waits again | 0 its data is gone, it was taken off the list | -1 it is no dead letter.
--
-- Safe to repeat: a job that waits again is no longer on the list. A full Redis still takes it: the first write is HDEL.
local queue, list, sizes, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local jobs, at = ARGV[1], now()
local was_empty = redis.call('LLEN', queue) == 0
local answer, redriven = {}, 0
open(stats)

local function forget(id)
  local size = redis.call('HGET', sizes, id)
  redis.call('LREM', list, 0, id)
  undo('RPUSH', list, id)
  if size then
    redis.call('HDEL', sizes, id)
    undo('HSET', sizes, id, size)
    redis.call('HINCRBY', sizes, '', 0 - size)
    undo('HINCRBY', sizes, '', size)
  end
end

for index = 3, #ARGV do
  local id = ARGV[index]
  local key = jobs .. id
  local owner = redis.call('GET', key .. ':owner')
  if not redis.call('LPOS', list, id) then
    answer[#answer + 1] = -1
  elseif redis.call('EXISTS', key .. ':data') == 0 then
    forget(id)
    commit()
    answer[#answer + 1] = 0
  else
    forget(id)
    count(stats, 'redriven', 1)
    push(queue, 'LPUSH', id)
    redis.call('PERSIST', key .. ':data')
    redis.pcall('PERSIST', string.sub(jobs, 1, -5) .. 'idem:' .. string.sub(digest_of(owner), 2))
    put_back(key, waiting_owner(0, target_of(owner), at), owner or '', 'failed')
    commit()
    redis.pcall('DEL', key .. ':error')
    announce(jobs, id, 'pending')
    redriven = redriven + 1
    answer[#answer + 1] = 1
  end
end
if redriven > 0 and was_empty then redis.pcall('PUBLISH', ARGV[2], redriven) end
return answer
