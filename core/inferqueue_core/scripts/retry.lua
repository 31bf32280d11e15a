-- retry: give claimed jobs back, after a failure that may pass or because the worker stops.
--
-- KEYS  1 queue  2 leases  3 delayed  4 dead  5 stats
-- ARGV  1 beginning of job keys  2 TTL (ms)  3 most attempts  4 most dead letters  5 TTL of a dead letter (ms)
--       then for each job: id, fence, delay (ms; -1 gives it back unharmed: at once, and the attempt does not count),
--       error message
-- Gives for each job 1 waits for its retry | 2 dead letter | 3 was canceled meanwhile | 0 stale.
--
-- Safe to repeat: the owner then reads `attempt:::nonce` (or the job is a dead letter), so the same retry is known again,
-- answered as before, and changes nothing.
-- A full Redis still takes it: each job begins with ZREM.
local queue, leases, delayed, dead, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local jobs, ttl, max_attempts, dead_max, dead_ttl = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local at = now()
local answer, given_back = {}, {}

local function nonce_of(fence) return string.match(fence, '^[^:]*:([^:]*)') or '' end

-- The job does not belong to this fence: because this very retry has been carried out, or because it never did.
local function repeated(id, fence, owner)
  local is_new = owner and string.match(owner, '^0@[^:]*::$')
  if not owner or is_new then return redis.call('GET', jobs .. id .. ':status') == 'canceled' and 3 or 0 end
  if string.match(owner, '^[^:]*:::(.+)$') == nonce_of(fence) then return 1 end
  return string.match(owner, '^(.*):dead:%d+$') == fence and 2 or 0
end

for index = 6, #ARGV, 4 do
  local id, fence, delay, message = ARGV[index], ARGV[index + 1], tonumber(ARGV[index + 2]), ARGV[index + 3]
  local key = jobs .. id
  local owner = redis.call('GET', key .. ':owner')
  if owner ~= fence then
    answer[#answer + 1] = repeated(id, fence, owner)
  else
    redis.call('ZREM', leases, id)
    local attempt = attempt_of(fence)
    if redis.call('EXISTS', key .. ':cancel') == 1 then
      redis.call('DEL', key .. ':owner')
      end_job(jobs, stats, id, 'canceled', '', ttl)
      answer[#answer + 1] = 3
    elseif delay >= 0 and attempt >= max_attempts then
      bury(jobs, stats, dead, id, fence, message, dead_ttl, dead_max, string.format('%.0f', at))
      answer[#answer + 1] = 2
    else
      if delay < 0 then
        attempt = attempt - 1
        given_back[#given_back + 1] = id
      else
        redis.call('ZADD', delayed, at + delay, id)
        redis.call('HINCRBY', stats, 'retried', 1)
      end
      redis.call('SET', key .. ':owner', attempt .. target_of(fence) .. ':::' .. nonce_of(fence), 'PX', ttl)
      redis.call('SET', key .. ':status', 'pending', 'PX', ttl)
      redis.call('PEXPIRE', key .. ':data', ttl)
      announce(jobs, id, 'pending')
      answer[#answer + 1] = 1
    end
  end
end
-- The last one pushed is the next one taken: the oldest job goes back to the very front.
for index = #given_back, 1, -1 do redis.call('RPUSH', queue, given_back[index]) end
return answer
