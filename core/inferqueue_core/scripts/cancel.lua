-- cancel: end a waiting job, or ask the worker of a running one to stop.
--
-- KEYS  1 deadlines  2 stats
-- ARGV  1 beginning of job keys  2 id  3 TTL (ms)
-- Gives {'canceled'} it waited and is ended | {'requested'} it runs, its worker hears of it at its next heartbeat
--       | {'ended', status} it had ended before | {'unknown'}.
--
-- Safe to repeat: a second run finds the job canceled or the request made.
-- A full Redis still takes it: the first write is DEL. The id stays in the list as a tombstone that claim skips (O(1)).
local deadlines, stats = KEYS[1], KEYS[2]
local jobs, id, ttl = ARGV[1], ARGV[2], ARGV[3]
local status = redis.call('GET', jobs .. id .. ':status')
if not status then return { 'unknown' } end
if TERMINAL[status] then return { 'ended', status } end
redis.call('DEL', jobs .. id .. ':cancel')
if status == 'processing' then
  redis.call('SET', jobs .. id .. ':cancel', '1', 'PX', ttl)
  return { 'requested' }
end
redis.call('ZREM', deadlines, id)
end_job(jobs, stats, id, 'canceled', '', ttl)
return { 'canceled' }
