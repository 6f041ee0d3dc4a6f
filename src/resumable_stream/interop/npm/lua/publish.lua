-- Publish a message, unless that was done by an earlier call whose reply was lost. One that nobody heard may be repeated.
--
-- KEYS  1 where the name of the last message to this listener is kept, or of the one from it
-- ARGV  1 channel  2 name of the message  3 message  4 how long to keep the name, in milliseconds
-- Returns how many heard it

if redis.call('GET', KEYS[1]) == ARGV[2] then return 1 end
local heard = redis.call('PUBLISH', ARGV[1], ARGV[3])
if heard > 0 then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[4]) end
return heard
