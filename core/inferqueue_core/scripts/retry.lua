-- retry: give claimed jobs back, after a failure that may pass or because the worker stops.
--
-- KEYS  1 queue  2 leases  3 delayed  4 dead  5 dead sizes  6 stats
-- ARGV  1 beginning of job keys  2 TTL of what has ended (ms)  3 most attempts  4 most dead letters  5 most bytes of them
--       6 TTL of a dead letter (ms)
--       then for each job: id, fence, delay (ms; -1 gives it back unharmed: at once, and the attempt does not count),
--       error message
-- Gives for each job 1 waits for its retry | 2 dead letter | 3 was canceled meanwhile | 0 stale.
--
-- Safe to repeat: the owner then reads `attempt@target::since:nonce` (or the job is a dead letter), so the same retry is
-- known again, answered as before, and changes nothing.
-- A full Redis still takes it: the first write is HDEL.
local queue, leases, delayed, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[6]
local jobs, ttl, max_attempts = ARGV[1], ARGV[2], tonumber(ARGV[3])
local dead = { list = KEYS[4], sizes = KEYS[5], most = tonumber(ARGV[4]), most_bytes = tonumber(ARGV[5]), ttl = ARGV[6], job_ttl = ttl }
local at = now()
local place = { jobs = jobs, stats = stats, leases = leases, at = at, ttl = ttl }
local answer = {}
open(stats)

local function nonce_of(fence) return string.match(fence, '^[^:]*:([^:]*)') or '' end

-- The job does not belong to this fence: because this very retry has been carried out, or because it never did.
local function repeated(id, fence, owner)
  local is_new = owner and string.match(owner, '^0@[^:]*::%d+$')
  if not owner or is_new then return redis.call('GET', jobs .. id .. ':status') == 'canceled' and 3 or 0 end
  if string.match(owner, '^[^:]*::%d*:(.+)$') == nonce_of(fence) then return 1 end
  return string.match(owner, '^(.*):dead:%d+$') == fence and 2 or 0
end

-- Backwards, for the last one pushed is the next one taken: the oldest job goes back to the very front.
for index = #ARGV - 3, 7, -4 do
  local id, fence, delay, message = ARGV[index], ARGV[index + 1], tonumber(ARGV[index + 2]), ARGV[index + 3]
  local key, nth = jobs .. id, (index - 7) / 4 + 1
  local owner = redis.call('GET', key .. ':owner')
  if owner ~= fence then
    answer[nth] = repeated(id, fence, owner)
  else
    local attempt = attempt_of(fence)
    if redis.call('EXISTS', key .. ':cancel') == 1 then
      settle(place, id, 'canceled', '')
      answer[nth] = 3
    elseif delay >= 0 and attempt >= max_attempts then
      bury(place, dead, id, fence, message)
      answer[nth] = 2
    else
      if delay < 0 then
        push(queue, 'RPUSH', id)
        attempt = attempt - 1
      else
        redis.call('ZADD', delayed, at + delay, id)
        undo('ZREM', delayed, id)
        count(stats, 'retried', 1)
      end
      put_back(key, waiting_owner(attempt, target_of(fence), at, nonce_of(fence)), fence, 'processing')
      redis.call('ZREM', leases, id)
      commit()
      announce(jobs, id, 'pending')
      answer[nth] = 1
    end
  end
end
return answer
