-- purge: give dead letters up, and their data with them.
--
-- KEYS  1 dead  2 dead sizes
-- ARGV  1 beginning of job keys  2 TTL of what has ended (ms)  3 how many, oldest first
-- Gives how many.
--
-- Safe to repeat: what was given up is no longer on the list.
local dead = { list = KEYS[1], sizes = KEYS[2], job_ttl = ARGV[2] }
local purged = 0
while purged < tonumber(ARGV[3]) and drop_dead(ARGV[1], dead) do purged = purged + 1 end
return purged
