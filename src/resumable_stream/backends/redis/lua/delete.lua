-- Forget a stream, and make its followers look.
--
-- KEYS  1 record  2 log
-- ARGV  1 channel
-- Returns 1 if there was one else 0

local existed = redis.call('UNLINK', KEYS[1], KEYS[2]) > 0 and 1 or 0
redis.call('PUBLISH', ARGV[1], '')
return existed
