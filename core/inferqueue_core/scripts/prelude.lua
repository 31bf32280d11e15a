-- Shared by every script: it is put before each of them, whose own text becomes the function `main`.

-- Redis does not take back what a script has written before one of its calls fails: a right that is missing, a key of
-- another type, no memory. So each job is changed in steps that can be taken back, and nothing that it needs is freed
-- before the last of them: a job is untouched or done.
local undone_by = {}

-- run(...): one call; when it fails, all steps since the last commit are taken back and the script ends with its error.
local function run(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then
    for step = #undone_by, 1, -1 do undone_by[step]() end
    error(reply)
  end
  return reply
end

-- step(undo, ...): a call that `undo` takes back when a later one fails.
local function step(undo, ...)
  local reply = run(...)
  undone_by[#undone_by + 1] = undo
  return reply
end

local function commit() undone_by = {} end

-- try(...): a call without which the job is right all the same: a hint to those who wait, or room that is freed.
local function try(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then return nil, reply end
  return reply
end

-- now(): milliseconds of Redis' own clock, so that no client's clock counts.
local function now()
  local time = run('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- text(number): as a string. Redis would write large numbers as 1.8e+12.
local function text(number) return string.format('%.0f', number) end

-- each(list, size, act): act on the parts of a list; a call for each of its elements costs more than the work, and one
-- for all of them could be larger than Lua's stack.
local function each(list, size, act)
  for first = 1, #list, size do act(first, math.min(first + size - 1, #list)) end
end

local TERMINAL = { completed = true, failed = true, canceled = true, expired = true }

-- An owner reads `attempt@target::since` while the job waits (since: ms; behind it `:nonce` when a retry put it there),
-- `attempt@target:started-nonce:worker` while it runs (its fence), then `:dead:ended` (ms) behind it, or, without the
-- target, `:ended:model/version/digest` when its result is stored.
-- A target is `queue/model/version/signature/pinned`, each percent-encoded, and `/digest` behind it where the job alone
-- was made by an Idempotency-Key; a stranger's job has none.

-- attempt_of(owner): how often the job was claimed so far.
local function attempt_of(owner)
  return owner and tonumber(string.match(owner, '^(%d+)[:@]')) or 0
end

-- target_of(owner): `@target`, or '' where none is named.
local function target_of(owner)
  return owner and string.match(owner, '^%d+(@[^:]*):') or ''
end

-- digest_of(owner): `/digest` of its Idempotency-Key, or ''.
local function digest_of(owner)
  return owner and string.match(owner, '^%d+@[^/:]*/[^/:]*/[^/:]*/[^/:]*/[^/:]*(/[^/:]+):') or ''
end

-- keep_idempotency(jobs, owner, ttl): let the Idempotency-Key of a job live as long as the job is known.
local function keep_idempotency(jobs, owner, ttl)
  local digest = digest_of(owner)
  if digest ~= '' then try('PEXPIRE', string.sub(jobs, 1, -5) .. 'idem:' .. string.sub(digest, 2), ttl) end
end

-- since_of(owner): since when (ms) a job waits; nil where it does not, or nobody wrote it down.
local function since_of(owner)
  return owner and tonumber(string.match(owner, '^[^:]*::(%d+)'))
end

-- is_fence(owner): whether a worker has the job.
local function is_fence(owner)
  return owner and string.find(owner, '^[^:]*:[^:]+:[^:]*$') ~= nil
end

local function waiting_owner(attempt, target, at, nonce)
  return attempt .. target .. '::' .. text(at) .. (nonce and ':' .. nonce or '')
end

-- announce(jobs, id, status): tell those who wait for the job. That it has begun is not told: nobody waits for that,
-- and it would cost each job a command.
local function announce(jobs, id, status)
  try('PUBLISH', jobs .. id .. ':events', status)
end

-- count(stats, name, number): a step.
local function count(stats, name, number)
  step(function() redis.pcall('HINCRBY', stats, name, -number) end, 'HINCRBY', stats, name, number)
end

-- open(stats): the first write of a script that must run on a full Redis too: it needs no memory, and the writes
-- behind it are let through.
local function open(stats) try('HDEL', stats, '') end
