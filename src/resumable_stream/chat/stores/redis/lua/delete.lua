-- Forget a chat.
--
-- KEYS[5]  list: what this very call returned, for a minute; its reply may get lost
-- Returns the status, owner, created_at, and streams by id

local d = describe()
if d then
  local streams = redis.call('HGETALL', KEYS[4])
  redis.call('RPUSH', KEYS[5], d[1], d[2])
  for _, part in ipairs(streams) do
    redis.call('RPUSH', KEYS[5], part)
  end
  redis.call('PEXPIRE', KEYS[5], 60000)
  redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
end
local owner, created_at = unpack(redis.call('LRANGE', KEYS[5], 0, 1))
if not owner then return {NOT_FOUND} end
return {OK, owner, created_at, redis.call('LRANGE', KEYS[5], 2, -1)}
