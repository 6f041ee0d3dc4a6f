-- Say that a stream is over, unless somebody else has said something of it.
--
-- KEYS  1 sentinel
-- ARGV  1 the number it started from  2 how far callers may have counted it up  3 expiry in milliseconds  4 what to say
--       5 channel of requests  6 what its listener, who is us, is to hear after all that was asked before
-- Returns 1, or 0: it is not ours

local found = redis.call('GET', KEYS[1])
local first, number = tonumber(ARGV[1]), tonumber(found or '')
if found and not (number and number >= first and number < first + tonumber(ARGV[2])) then return 0 end
redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[3])
redis.call('PUBLISH', ARGV[5], ARGV[6])
return 1
