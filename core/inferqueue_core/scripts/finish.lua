-- finish: store how claimed jobs ended; the only place that writes results.
--
-- KEYS  1 leases  2 stats
-- ARGV  1 beginning of job keys  2 TTL (ms)  3 what ran, `model/version/digest` ('': not told)
--       4 TTL of their Idempotency-Keys (ms)
--       then for each job: id, fence ('': that of the job before), status (completed, failed or canceled), result or
--       error message
-- Gives for each job 1 stored | 2 stored before under this fence | 0 stale: the job belongs to another attempt.
--
-- Safe to repeat: a stored job's owner reads `attempt:nonce:worker:ended…`, so the same finish is known again and changes
-- nothing. When a call fails, the jobs before are stored, the others are as they were, and the error is answered.
-- A full Redis still takes it: the first write is HDEL.
local leases, stats = KEYS[1], KEYS[2]
local jobs, ttl = ARGV[1], ARGV[2]
local _, at = now()
local ended = ':' .. at .. (ARGV[3] == '' and '' or ':' .. ARGV[3])
local answer, stale, stored = {}, 0, #ARGV > 8 and {}
redis.pcall('HDEL', stats, '')

-- Keys are read and deleted many at a time: a call of its own for each costs more than the work.
-- A request to cancel that came too late is left to its TTL: nobody asks for it once the job has ended.
local CHUNK = 4 * 64
local fence, bare, idempotency_key
for first = 5, #ARGV, CHUNK do
  local last = math.min(first + CHUNK - 1, #ARGV)
  local owner_keys, held, spent, endings = {}, {}, {}, {}
  for index = first, last, 4 do owner_keys[#owner_keys + 1] = jobs .. ARGV[index] .. ':owner' end
  for nth, owner in ipairs(redis.call('MGET', unpack(owner_keys))) do
    local index = first + (nth - 1) * 4
    local id, status = ARGV[index], ARGV[index + 2]
    if ARGV[index + 1] ~= '' then
      -- What a job was for is not kept any longer, but its Idempotency-Key is to live as long as the job is known.
      fence = ARGV[index + 1]
      local target, digest, rest = string.match(fence, '^%d+()@[^/:]*/?[^/:]*/?[^/:]*/?[^/:]*/?[^/:]*/?([^/:]*)():')
      bare = target and string.sub(fence, 1, target - 1) .. string.sub(fence, rest) or fence
      idempotency_key = digest and digest ~= '' and string.sub(jobs, 1, -5) .. 'idem:' .. digest
    end

    local outcome = 2
    if owner == fence and not (stored and stored[id]) then
      local key = jobs .. id
      redis.call('SET', key .. (status == 'completed' and ':result' or ':error'), ARGV[index + 3], 'PX', ttl)
      redis.call('SET', owner_keys[nth], bare .. ended, 'PX', ttl)
      local reply = redis.pcall('SET', key .. ':status', status, 'PX', ttl)
      if reply.err then
        redis.pcall('SET', owner_keys[nth], fence)
        error(reply)
      end
      if idempotency_key then redis.pcall('PEXPIRE', idempotency_key, ARGV[4]) end
      redis.pcall('PUBLISH', key .. ':events', status)
      outcome = 1
      if stored then stored[id] = true end
      held[#held + 1], spent[#spent + 1] = id, key .. ':data'
      endings[status] = (endings[status] or 0) + 1
    elseif owner ~= fence then
      local is_ended = owner and string.sub(owner, 1, #bare) == bare and string.find(owner, '^:%d', #bare + 1)
      if not is_ended then outcome, stale = 0, stale + 1 end
    end
    answer[#answer + 1] = outcome
  end
  if #held > 0 then
    -- The lease goes last: of a job that has ended and has one still, the reaper frees the data, and counts it.
    redis.call('DEL', unpack(spent))
    for status, number in pairs(endings) do
      redis.call('HINCRBY', stats, status, number)
      undone_by[#undone_by + 1] = function() redis.pcall('HINCRBY', stats, status, -number) end
    end
    redis.call('ZREM', leases, unpack(held))
    undone_by = {}
  end
end
if stale > 0 then redis.pcall('HINCRBY', stats, 'stale', stale) end
return answer
