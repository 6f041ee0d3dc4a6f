-- What the scripts about an index have in common. An index has other keys than what it is about, and may be on another
-- server. What an entry says is believed only if the chat says so too.
--
-- KEYS[1]  of an owner, a sorted set: the time of creation and the chat, sorted by these; all scores are 0
--          of a stream, a string: when it was written, a blank, and the chat
--
-- Times are microseconds since 1970, in 16 digits.

local function digits(number)
  return string.format('%016.0f', number)
end

local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- Never shorten what another process wants.
local function expire(after, is_new)
  if after == 0 then
    redis.call('PERSIST', KEYS[1])
  else
    local left = redis.call('PTTL', KEYS[1])
    if is_new or (left >= 0 and left < after) then redis.call('PEXPIRE', KEYS[1], after) end
  end
end
