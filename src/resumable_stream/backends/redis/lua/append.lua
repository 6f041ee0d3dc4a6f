-- Log chunks and record ends of many streams, each atomically, and push them to whoever follows.
--
-- KEYS  for each append: record, log
-- ARGV  for each append: channel, generation, epoch, first, count, payload, state, end
--       state and end are empty unless the append ends its stream
-- Returns for each append three numbers in one flat list: status, length, 1 if a stop was asked else 0
--       status: 0 accepted, 1 fenced, 2 gone, 3 misplaced

local ACCEPTED, FENCED, GONE, MISPLACED = 0, 1, 2, 3
local now = clock()

local function write(meta, log, d, first, count, payload, state, ending)
  local length = first + count
  if count > 0 then
    redis.call('XADD', log, first .. '-' .. count, 'c', payload)
  end
  if state == '' then
    redis.call('HSET', meta, 'length', integer(length), 'leased_until', integer(now + d.lease))
    expire(meta, log, d.lease, d.retention, d.tombstone)
  else
    redis.call('HSET', meta, 'length', integer(length), 'state', state, 'end', ending, 'ended_at', integer(now))
    expire(meta, log, 0, d.retention, d.tombstone)
  end
  return length
end

-- Whether this is what was accepted last: then its reply was lost, and it is accepted again.
local function is_repeated(log, d, first, count, payload, state, ending)
  if d.length ~= tonumber(first) + tonumber(count) or (d.stored_state or '') ~= state or d.ending ~= ending then
    return false
  end
  if count == '0' then return state ~= '' end
  local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  return last and last[1] == first .. '-' .. count and last[2][2] == payload
end

local function append(meta, log, channel, generation, epoch, first, count, payload, state, ending)
  local d = describe(meta, now)
  if not d or d.generation ~= generation then return GONE, 0, 0 end
  if d.epoch ~= epoch then return FENCED, d.length, 0 end
  if is_repeated(log, d, first, count, payload, state, ending) then return ACCEPTED, d.length, d.stop end
  if d.has_ended then return FENCED, d.length, 0 end
  if d.length ~= tonumber(first) then return MISPLACED, d.length, 0 end
  local length = write(meta, log, d, first, tonumber(count), payload, state, ending)
  if count ~= '0' or state ~= '' then
    redis.call('PUBLISH', channel, generation .. ' ' .. first .. ' ' .. count .. ' ' .. ending .. '\n' .. payload)
  end
  return ACCEPTED, length, d.stop
end

local answers = {}
for i = 0, #KEYS / 2 - 1 do
  local k, a = i * 2, i * 8
  local status, length, stop = append(KEYS[k + 1], KEYS[k + 2], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4],
    ARGV[a + 5], ARGV[a + 6], ARGV[a + 7], ARGV[a + 8])
  answers[#answers + 1] = status
  answers[#answers + 1] = length
  answers[#answers + 1] = stop
end
return answers
