-- Become the publisher of a stream, or learn of the one there is.
--
-- KEYS  1 record  2 log
-- ARGV  1 token  2 lease, ms  3 retention, ms  4 tombstone, ms  5 "1" to create an unknown stream
--       6 "1" to take over a lost one  7 only if this is its epoch, or "0"
--       8 PUBLISH or SPUBLISH  9 channel  10 channel of notices  11 stream id
-- Returns {1 if the caller is the publisher else 0, description}

local KEPT_TAKEOVERS = 20
local meta, log = KEYS[1], KEYS[2]
local token, lease, retention, tombstone = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local now = clock()
local d = describe(meta, now)

local function own(epoch, length)
  redis.call('HSET', meta, 'owner', token, 'epoch', epoch, 'lease', lease, 'retention', retention,
    'tombstone', tombstone, 'leased_until', integer(now + lease), 'epoch_start', integer(length))
  expire(meta, log, lease + RENEWAL, retention, tombstone)
end

local function remember_takeover(epoch)
  local kept = {}
  for start in string.gmatch(d.takeovers, '%S+') do kept[#kept + 1] = start end
  kept[#kept + 1] = epoch .. ':' .. d.length .. ':' .. age(d, now)
  redis.call('HSET', meta, 'takeovers', table.concat(kept, ' ', math.max(1, #kept - KEPT_TAKEOVERS + 1)))
end

if not d or d.is_id_free then
  if ARGV[5] ~= '1' then return {0, {}} end
  redis.call('UNLINK', meta, log)
  redis.call('HSET', meta, 'generation', token, 'length', 0, 'created_at', integer(now))
  own(1, 0)
  d = describe(meta, now)
elseif ARGV[6] == '1' and (ARGV[7] == '0' or ARGV[7] == d.epoch) and d.state == 'lost' and d.is_readable then
  local epoch = integer(d.epoch + 1)
  own(epoch, d.length)
  remember_takeover(epoch)
  redis.pcall(ARGV[8], ARGV[9], '')
  notify(ARGV[10], ARGV[11])
  d = describe(meta, now)
end
return {d.owner == token and 1 or 0, reply(d)}
