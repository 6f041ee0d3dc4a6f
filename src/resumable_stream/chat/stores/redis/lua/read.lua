-- Read a chat.
--
-- ARGV  'info', 'messages' or 'streams'
-- Returns the status, the chat, and: nothing; ids in order and messages by id; or streams by id

local d = describe()
if not d then return {NOT_FOUND} end
if ARGV[1] == 'messages' then
  return {OK, d, redis.call('ZRANGE', KEYS[3], 0, -1), redis.call('HGETALL', KEYS[2])}
end
if ARGV[1] == 'streams' then return {OK, d, redis.call('HGETALL', KEYS[4])} end
return {OK, d}
