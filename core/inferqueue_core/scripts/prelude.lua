-- Shared by every script: it is put before each of them, whose own text becomes the function `main`.
-- Every function and every table that a script makes costs each call of it, and so does each local that a function uses of
-- those around it. So what has one caller stands there, and what is rarely needed is made when it is.

-- Redis does not take back what a script has written before one of its calls fails: a right that is missing, a key of
-- another type, no memory. So a script notes here what takes its writes back, and frees nothing that a job needs before the
-- last of them: a job is untouched or done. A call without which it is right all the same is a redis.pcall: a hint to
-- those who wait, or room that is freed.
local undone_by = {}

-- now(): milliseconds of Redis' own clock, so that no client's clock counts; as a number and as text. Lua writes whole
-- numbers of up to 14 digits in full, those of this clock have 13.
local function now()
  local time = redis.call('TIME')
  local at = time[1] .. string.sub('00000' .. time[2], -6, -4)
  return tonumber(at), at
end

-- An owner reads `attempt@target::since` while the job waits (since: ms; behind it `:nonce` when a retry put it there),
-- `attempt@target:started-nonce:worker` while it runs (its fence), then `:dead:ended` (ms) behind it, or, without the
-- target, `:ended:model/version/digest` when its result is stored.
-- A target is `queue/model/version/signature/pinned`, each percent-encoded, and `/digest` behind it where the job alone
-- was made by an Idempotency-Key; a stranger's job has none.
