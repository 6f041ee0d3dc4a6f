-- Record when the entries of a chat in the indexes were renewed.
--
-- ARGV  created_at, of the chat that was meant
-- Returns the status

if redis.call('HGET', KEYS[1], 'created_at') ~= ARGV[1] then return {NOT_FOUND} end
redis.call('HSET', KEYS[1], 'renewed_at', integer(clock()))
return {OK}
