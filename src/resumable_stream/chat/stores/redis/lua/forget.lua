-- Let the index say nothing of a stream, if what it says is this still.
--
-- ARGV  the entry, or the end of it

local found = redis.call('GET', KEYS[1])
if found and string.sub(found, -#ARGV[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
