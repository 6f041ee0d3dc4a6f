-- Record that a stream is to stop, and tell its publisher.
--
-- KEYS  1 record  2 log
-- ARGV  1 the end to record, as JSON  2 channel of notices  3 stream id
-- Returns a description

local now = clock()
local d = describe(KEYS[1], now)
if d and (d.state == 'running' or d.state == 'lost' and d.is_readable) then
  redis.call('HSETNX', KEYS[1], 'stop', ARGV[1])
  notify(ARGV[2], ARGV[3])
  d = describe(KEYS[1], now)
end
return reply(d and not d.is_id_free and d)
