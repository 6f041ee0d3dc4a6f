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

-- What appends need comes first: that is where it is found with the least looking.
local function own(generation, epoch, length, created_at)
  redis.call('HSET', meta, 'head', generation .. ' ' .. epoch .. ' ' .. length, 'leased_until', integer(now + lease),
    'lease', lease, 'created_at', created_at, 'owner', token, 'retention', retention, 'tombstone', tombstone,
    'epoch_start', length)
  expire(meta, log, lease + RENEWAL, retention, tombstone)
end

local function remember_takeover(epoch)
  local kept = {}
  for start in string.gmatch(d.takeovers, '%S+') do kept[#kept + 1] = start end
  kept[#kept + 1] = epoch .. ':' .. integer(d.length) .. ':' .. age(d.created_at, now)
  redis.call('HSET', meta, 'takeovers', table.concat(kept, ' ', math.max(1, #kept - KEPT_TAKEOVERS + 1)))
end

-- Drop what the record does not know of. That is there if the record is older than the log, as when keys were copied one by one, and
-- would be taken for what is appended from now on.
local function trim(length)
  local last = redis.call('LINDEX', log, -1)
  while last and tonumber(string.match(last, '^%d+') or 0) >= length do
    redis.call('RPOP', log)
    last = redis.call('LINDEX', log, -1)
  end
end

if not d or d.is_id_free then
  if ARGV[5] ~= '1' then return {0, {}} end
  redis.call('UNLINK', meta, log)
  own(token, 1, 0, integer(now))
  d = describe(meta, now)
elseif ARGV[6] == '1' and (ARGV[7] == '0' or ARGV[7] == d.epoch) and d.state == 'lost' and d.is_readable then
  local epoch = integer(d.epoch + 1)
  trim(d.length)
  own(d.generation, epoch, integer(d.length), d.created_at)
  remember_takeover(epoch)
  redis.pcall(ARGV[8], ARGV[9], '')
  notify(ARGV[10], ARGV[11])
  d = describe(meta, now)
end
return {d.owner == token and 1 or 0, reply(d)}
