-- The end of every script. When a call of it has failed, what it had written is taken back, the last first, and the error
-- is answered as Redis gave it, with its code. Redis 6.2 raises errors as text, as others do where the whole server refuses
-- a call (a replica): there the line stands before it.
local is_done, reply = pcall(main)
if is_done then return reply end
for step = #undone_by, 1, -1 do undone_by[step]() end
if type(reply) == 'table' and reply.err then return reply end
return { err = (string.gsub(tostring(reply), '^[^:]*:%d+: ', '')) }
