-- Make a chat.
--
-- ARGV  token, owner, metadata, created_at (when its entry in the index was written), milliseconds until it expires or 0
-- Returns the status, and the chat

local token, owner, metadata, created_at = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

if redis.call('EXISTS', KEYS[1]) == 1 then
  if is_done(token) then return {OK, describe()} end  -- the reply was lost
  return {REFUSED}
end
if math.abs(clock() - tonumber(created_at)) > TOO_LATE then return {LATE} end

redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
redis.call('HSET', KEYS[1], 'owner', owner, 'created_at', created_at, 'updated_at', created_at, 'version', 1,
  'metadata', metadata, 'active', '', 'renewed_at', created_at, 'done', done_with(token))
expire(tonumber(ARGV[5]))
return {OK, describe()}
