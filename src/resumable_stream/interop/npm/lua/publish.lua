-- Publish a message, unless that was done by an earlier call whose reply was lost, or somebody else tells this listener.
-- One that nobody heard may be repeated.
--
-- KEYS  1 where is kept what was last said to this listener, or by it: who said it, and the number
-- ARGV  1 channel  2 who says it  3 number of the message  4 message  5 how long to keep it, in milliseconds
-- Returns how many heard it, or -1: somebody else tells this listener

local teller, last = ARGV[2] .. ':', redis.call('GET', KEYS[1])
local name = teller .. ARGV[3]
if last == name then return 1 end
if last and string.sub(last, 1, #teller) ~= teller then return -1 end
local heard = redis.call('PUBLISH', ARGV[1], ARGV[4])
if heard > 0 then redis.call('SET', KEYS[1], name, 'PX', ARGV[5]) end
return heard
