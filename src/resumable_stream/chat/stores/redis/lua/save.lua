-- Change a chat, if the conditions hold.
--
-- ARGV  token, milliseconds until it expires or 0,
--       optional: if_version, if_active, if_owner, drop_after, metadata, begin,
--       what the stream that begins replies to, when its entry in the index was written, 1 to clear the active stream,
--       then for each message: id, JSON
-- Returns the status, and the chat

local token, expiry = ARGV[1], tonumber(ARGV[2])
local if_version, if_active, if_owner = optional(ARGV[3]), optional(ARGV[4]), optional(ARGV[5])
local drop_after, metadata, begin = optional(ARGV[6]), optional(ARGV[7]), optional(ARGV[8])
local replies_to, indexed_at, is_cleared = ARGV[9], ARGV[10], ARGV[11] == '1'

-- A key that somebody else wrote raises an error here, before the first write.
redis.call('HLEN', KEYS[2])
redis.call('HLEN', KEYS[4])
local last = redis.call('ZREVRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2] or 0

local d = describe()
if not d then return {NOT_FOUND} end
if is_done(token) then return {OK, d} end  -- the reply was lost
if (if_version and if_version ~= d[4]) or (if_active and if_active ~= d[6]) or (if_owner and if_owner ~= d[1]) then
  return {REFUSED}
end
local now = math.max(clock(), tonumber(d[3]))
if begin and math.abs(clock() - tonumber(indexed_at)) > TOO_LATE then return {LATE} end

local place = drop_after and redis.call('ZSCORE', KEYS[3], drop_after)
if place then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. place, '+inf')) do
    redis.call('HDEL', KEYS[2], id)
  end
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '(' .. place, '+inf')
  last = place
end

for i = 12, #ARGV, 2 do
  if redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) == 1 then
    last = last + 1
    redis.call('ZADD', KEYS[3], integer(last), ARGV[i])
  end
end

if begin then
  local number = redis.call('HLEN', KEYS[4])
  redis.call('HSETNX', KEYS[4], begin, number .. ' ' .. integer(now) .. ' ' .. replies_to)
  redis.call('HSET', KEYS[1], 'active', begin)
end
if is_cleared then redis.call('HSET', KEYS[1], 'active', '') end
if metadata then redis.call('HSET', KEYS[1], 'metadata', metadata) end
redis.call('HINCRBY', KEYS[1], 'version', 1)
redis.call('HSET', KEYS[1], 'updated_at', integer(now), 'done', done_with(token))
expire(expiry)
return {OK, describe()}
