-- Forget a chat.
--
-- KEYS[5]  list: what this very call returned, for a minute; its reply may get lost, and the chat be made anew meanwhile
-- ARGV     optional: if_owner
-- Returns the status, owner, created_at, and streams by id

if redis.call('EXISTS', KEYS[5]) == 0 then
  local if_owner, d = optional(ARGV[1]), describe()
  if d and (not if_owner or if_owner == d[1]) then
    local streams = redis.call('HGETALL', KEYS[4])
    redis.call('RPUSH', KEYS[5], d[1], d[2])
    for _, part in ipairs(streams) do
      redis.call('RPUSH', KEYS[5], part)
    end
    redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
  else
    redis.call('RPUSH', KEYS[5], '')
  end
  redis.call('PEXPIRE', KEYS[5], 60000)
end
local owner, created_at = unpack(redis.call('LRANGE', KEYS[5], 0, 1))
if not created_at then return {NOT_FOUND} end
return {OK, owner, created_at, redis.call('LRANGE', KEYS[5], 2, -1)}
