-- The end of every script: an error of Redis is answered as Redis gave it, with its code.
local is_done, reply = pcall(main)
if is_done or type(reply) == 'table' and reply.err then return reply end
error(reply)
