-- Let the index say in which chat a stream is.
--
-- ARGV  chat, milliseconds until the entry expires or 0
-- Returns the time, and the entry if this call wrote it, else ''

local now = digits(clock())
local found = redis.call('GET', KEYS[1])
if found and string.sub(found, 18) == ARGV[1] then
  expire(tonumber(ARGV[2]), false)
  return {now, ''}
end
redis.call('SET', KEYS[1], now .. ' ' .. ARGV[1])
expire(tonumber(ARGV[2]), true)
return {now, now .. ' ' .. ARGV[1]}
