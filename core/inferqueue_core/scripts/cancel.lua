-- cancel: end a waiting job, or ask the worker of a running one to stop.
--
-- KEYS  1 delayed  2 deadlines  3 tombstones  4 stats
-- ARGV  1 beginning of job keys  2 id  3 TTL of what has ended (ms)  4 TTL of the request (ms)
-- Gives {'canceled'} it waited and is ended | {'requested'} it runs, its worker hears of it at its next heartbeat
--       | {'ended', status} it had ended before | {'unknown'}.
--
-- Safe to repeat: a second run finds the job canceled or the request made.
-- A full Redis still takes it: the first write is HDEL.
local jobs, id, stats = ARGV[1], ARGV[2], KEYS[4]
local status = redis.call('GET', jobs .. id .. ':status')
if not status then return { 'unknown' } end
if TERMINAL[status] then return { 'ended', status } end
open(stats)
if status == 'processing' then
  redis.call('SET', jobs .. id .. ':cancel', '1', 'PX', ARGV[4])
  return { 'requested' }
end
local place = {
  jobs = jobs, stats = stats, delayed = KEYS[1], deadlines = KEYS[2], tombstones = KEYS[3], at = now(), ttl = ARGV[3],
}
end_waiting(place, id, 'canceled', '')
return { 'canceled' }
