-- Log chunks and record ends of many streams, each atomically, and push them to whoever follows.
--
-- KEYS  for each append: record, log
-- ARGV  PUBLISH or SPUBLISH, then for each append: channel, generation, epoch, first, count, payload, state, end
--       state and end are empty unless the append ends its stream
-- Returns for each append three values in one flat list: status, length, the end to record if a stop was asked else ''
--       status: 0 accepted, 1 fenced, 2 gone, 3 misplaced, 4 unusable

local ACCEPTED, FENCED, GONE, MISPLACED, UNUSABLE = 0, 1, 2, 3, 4
local now = clock()

-- What nearly all appends find: a stream that runs, whose owner goes on where its log ends. It takes less reading, and
-- next to no numbers, which are slow to make from text and to write again. Returns nil otherwise.
local function describe_running(meta, generation, epoch, first)
  local f = redis.call('HMGET', meta, 'length', 'leased_until', 'generation', 'epoch', 'lease', 'retention', 'tombstone',
    'created_at', 'state', 'stop')
  if f[1] ~= first or f[3] ~= generation or f[4] ~= epoch or f[9] then return nil end
  local leased_until = tonumber(f[2])
  if leased_until < now then return nil end
  return {leased_until = leased_until, lease = tonumber(f[5]), retention = f[6], tombstone = f[7], created_at = f[8],
    stop = f[10] or ''}
end

-- Log, renew the lease or record the end, and push. Returns the new length.
local function accept(meta, log, channel, d, generation, epoch, first, count, payload, state, ending)
  local length = integer(first + count)
  if count ~= '0' then
    redis.call('XADD', log, first .. '-' .. count, 'c', payload, 't', age(d, now))
  end
  if state == '' then
    redis.call('HSET', meta, 'length', length, 'leased_until', integer(now + d.lease))
    local renewed_at = d.leased_until - d.lease
    if first == '0' or math.floor(renewed_at / RENEWAL) ~= math.floor(now / RENEWAL) then
      expire(meta, log, d.lease + RENEWAL, d.retention, d.tombstone)
    end
  else
    redis.call('HSET', meta, 'length', length, 'state', state, 'end', ending, 'ended_at', integer(now))
    expire(meta, log, 0, d.retention, d.tombstone)
  end
  if count ~= '0' or state ~= '' then
    redis.pcall(ARGV[1], channel, generation .. ' ' .. epoch .. ' ' .. first .. ' ' .. count .. ' ' .. ending .. '\n' ..
      payload)
  end
  return tonumber(length)
end

-- Whether this is what was accepted last: then its reply was lost, and it is accepted again.
local function is_repeated(log, d, first, count, payload, state, ending)
  if d.length ~= tonumber(first) + tonumber(count) or d.stored_state ~= state or d.stored_end ~= ending then
    return false
  end
  if count == '0' then return state ~= '' end
  local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  return last and last[1] == first .. '-' .. count and last[2][2] == payload
end

local function append(meta, log, channel, generation, epoch, first, count, payload, state, ending)
  local running = describe_running(meta, generation, epoch, first)
  if running then
    local length = accept(meta, log, channel, running, generation, epoch, first, count, payload, state, ending)
    return ACCEPTED, length, running.stop
  end
  local d = describe(meta, now)
  if not d or d.generation ~= generation then return GONE, 0, '' end
  if d.epoch ~= epoch then return FENCED, d.length, '' end
  if is_repeated(log, d, first, count, payload, state, ending) then return ACCEPTED, d.length, d.stop end
  if d.has_ended then return FENCED, d.length, '' end
  return MISPLACED, d.length, ''
end

-- One stream's key that somebody else wrote is not to keep the others from being appended to. Whatever else can go wrong
-- does so before the first write, and for all of them.
local function is_wrong_type(problem)
  return string.find(type(problem) == 'table' and problem.err or tostring(problem), 'WRONGTYPE', 1, true)
end

local answers = {}
for i = 0, #KEYS / 2 - 1 do
  local k, a = i * 2, i * 8 + 1
  local ok, status, length, stop = pcall(append, KEYS[k + 1], KEYS[k + 2], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4],
    ARGV[a + 5], ARGV[a + 6], ARGV[a + 7], ARGV[a + 8])
  if not ok then
    if not is_wrong_type(status) then error(status) end
    status, length, stop = UNUSABLE, 0, ''
  end
  answers[#answers + 1] = status
  answers[#answers + 1] = length
  answers[#answers + 1] = stop
end
return answers
