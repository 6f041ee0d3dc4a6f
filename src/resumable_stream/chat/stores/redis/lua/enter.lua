-- Enter a chat into the index of its owner.
--
-- ARGV  chat, created_at or '' for a new one, milliseconds until the index expires or 0
-- Returns created_at

local is_new = redis.call('EXISTS', KEYS[1]) == 0
local created_at = ARGV[2]
if created_at ~= '' then
  redis.call('ZADD', KEYS[1], 0, created_at .. ':' .. ARGV[1])
else
  local now = clock()
  created_at = digits(now)
  while redis.call('ZADD', KEYS[1], 'NX', 0, created_at .. ':' .. ARGV[1]) == 0 do  -- each attempt has its own
    now = now + 1
    created_at = digits(now)
  end
end
expire(tonumber(ARGV[3]), is_new)
return created_at
