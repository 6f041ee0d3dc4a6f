-- Forget a stream, and make its followers and its publisher look.
--
-- KEYS  1 record  2 log
-- ARGV  1 PUBLISH or SPUBLISH  2 channel  3 channel of notices  4 stream id
-- Returns 1 if there was one else 0

local existed = redis.call('UNLINK', KEYS[1], KEYS[2]) > 0 and 1 or 0
redis.pcall(ARGV[1], ARGV[2], '')
notify(ARGV[3], ARGV[4])
return existed
