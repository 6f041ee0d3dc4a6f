-- Forget a stream, and make its followers and its publisher look.
--
-- KEYS  1 record  2 log
-- ARGV  1 PUBLISH or SPUBLISH  2 channel  3 channel of notices  4 stream id
-- Returns 1 if there was one else 0

local is_ours, d = pcall(describe, KEYS[1], clock()) -- what somebody else wrote there goes, too
redis.call('UNLINK', KEYS[1], KEYS[2])
redis.pcall(ARGV[1], ARGV[2], '')
notify(ARGV[3], ARGV[4])
return is_ours and d and not d.is_id_free and 1 or 0
