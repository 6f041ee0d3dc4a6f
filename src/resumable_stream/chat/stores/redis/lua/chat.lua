-- What the scripts about one chat have in common.
--
-- KEYS[1]  hash: owner, created_at, updated_at, version, metadata, active (a stream's id or ''), renewed_at,
--          done (the tokens of the last changes, each followed by a blank)
-- KEYS[2]  hash: message id -> message, as JSON
-- KEYS[3]  sorted set: message id, by position
-- KEYS[4]  hash: stream id -> number, created_at, and the id of the message it replies to, with blanks between
--
-- Times are microseconds since 1970. Scripts return a status first.

local OK, NOT_FOUND, REFUSED, LATE = 0, 1, 2, 3

local TOKENS = 32
-- An entry of an index is written before what it is about, and believed for an hour at least. What it is about has to be
-- there in half of that, by whichever clock.
local TOO_LATE = 30 * 60 * 1000000

local function integer(number)
  return string.format('%.0f', number)
end

local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- An optional argument: '' for none, or = and the value.
local function optional(argument)
  if argument ~= '' then return string.sub(argument, 2) end
end

local function is_done(token)
  return string.find(redis.call('HGET', KEYS[1], 'done') or '', token .. ' ', 1, true) ~= nil
end

local function done_with(token)
  return string.sub((redis.call('HGET', KEYS[1], 'done') or '') .. token .. ' ', -TOKENS * (#token + 1))
end

local function describe()
  local d = redis.call('HMGET', KEYS[1], 'owner', 'created_at', 'updated_at', 'version', 'metadata', 'active', 'renewed_at')
  if not d[1] then return nil end
  d[8] = d[6] ~= '' and redis.call('HGET', KEYS[4], d[6]) or ''
  return d
end

-- All keys of a chat end at the same moment.
local function expire(after)
  for _, key in ipairs(KEYS) do
    if after > 0 then
      redis.call('PEXPIREAT', key, integer(math.floor(clock() / 1000) + after))
    else
      redis.call('PERSIST', key)
    end
  end
end
