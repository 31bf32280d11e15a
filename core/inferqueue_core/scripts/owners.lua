-- Shared by the scripts that read owners of jobs in any state, or write those of waiting ones.

local TERMINAL = { completed = true, failed = true, canceled = true, expired = true }

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

-- since_of(owner): since when (ms) a job waits; nil where it does not, or nobody wrote it down.
local function since_of(owner)
  return owner and tonumber(string.match(owner, '^[^:]*::(%d+)'))
end

-- is_fence(owner): whether a worker has the job.
local function is_fence(owner)
  return owner and string.find(owner, '^[^:]*:[^:]+:[^:]*$') ~= nil
end

local function waiting_owner(attempt, target, at, nonce)
  return attempt .. target .. '::' .. at .. (nonce and ':' .. nonce or '')
end
