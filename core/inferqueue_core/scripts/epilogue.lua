-- The end of every script: an error of Redis is answered as Redis gave it, with its code. Where the whole server refuses a
-- call, as a replica does, the error is raised as a text with the line before it.
local is_done, reply = pcall(main)
if is_done or type(reply) == 'table' and reply.err then return reply end
return { err = (string.gsub(tostring(reply), '^[^:]*:%d+: ', '')) }
