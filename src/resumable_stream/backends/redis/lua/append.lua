-- Log chunks and record ends of many streams, each atomically, and push them to whoever follows.
--
-- KEYS  for each append: record, log
-- ARGV  PUBLISH or SPUBLISH, then for each append: channel, generation, epoch, first, count, first + count, payload, end
--       end is empty unless the append ends its stream
-- Returns for each append three values in one flat list: status, length, the end to record if a stop was asked else ''
--       status: 0 accepted, 1 fenced, 2 gone, 3 misplaced, 4 unusable; length: 0 if accepted

local ACCEPTED, FENCED, GONE, MISPLACED, UNUSABLE = 0, 1, 2, 3, 4
local now = clock()
local this_period = math.floor(now / RENEWAL)

-- Most streams have the same lease: its numbers are made from text, and written, once for all of them.
local leases = {}
local function lease_of(text)
  local lease = leases[text]
  if not lease then
    lease = {ms = tonumber(text), leased_until = integer(now + text)}
    leases[text] = lease
  end
  return lease
end

-- What nearly all appends find: a stream that runs, whose owner goes on where its log ends. It takes less reading, and
-- next to no numbers, which are slow to make from text and to write again. Returns nil otherwise.
local function describe_running(meta, generation, epoch, first)
  local f = redis.call('HMGET', meta, 'length', 'leased_until', 'generation', 'epoch', 'lease', 'created_at', 'state',
    'stop')
  if f[1] ~= first or f[3] ~= generation or f[4] ~= epoch or f[7] then return nil end
  local leased_until = tonumber(f[2])
  if leased_until < now then return nil end
  return {leased_until = leased_until, lease = lease_of(f[5]), created_at = f[6], stop = f[8] or ''}
end

-- The state is the first word of an end: ["done", ...
local function state_of(ending)
  return string.match(ending, '%a+')
end

-- Of these terms most appends need nothing.
local function expire_as_agreed(meta, log, from_now)
  local terms = redis.call('HMGET', meta, 'retention', 'tombstone')
  expire(meta, log, from_now, terms[1], terms[2])
end

-- Log, renew the lease or record the end, and push.
local function accept(meta, log, channel, d, generation, epoch, first, count, length, payload, ending)
  if count ~= '0' then
    redis.call('XADD', log, first .. '-' .. count, 'c', payload, 't', age(d, now))
  end
  if ending == '' then
    redis.call('HSET', meta, 'length', length, 'leased_until', d.lease.leased_until)
    if first == '0' or math.floor((d.leased_until - d.lease.ms) / RENEWAL) ~= this_period then
      expire_as_agreed(meta, log, d.lease.ms + RENEWAL)
    end
  else
    redis.call('HSET', meta, 'length', length, 'state', state_of(ending), 'end', ending, 'ended_at', integer(now))
    expire_as_agreed(meta, log, 0)
  end
  if count ~= '0' or ending ~= '' then
    redis.pcall(ARGV[1], channel, generation .. ' ' .. epoch .. ' ' .. first .. ' ' .. count .. ' ' .. ending .. '\n' ..
      payload)
  end
end

-- Whether this is what was accepted last: then its reply was lost, and it is accepted again.
local function is_repeated(log, d, first, count, length, payload, ending)
  if d.length ~= tonumber(length) or d.stored_end ~= ending then return false end
  if count == '0' then return ending ~= '' end
  local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  return last and last[1] == first .. '-' .. count and last[2][2] == payload
end

local function append(meta, log, channel, generation, epoch, first, count, length, payload, ending)
  local running = describe_running(meta, generation, epoch, first)
  if running then
    accept(meta, log, channel, running, generation, epoch, first, count, length, payload, ending)
    return ACCEPTED, 0, running.stop
  end
  local d = describe(meta, now)
  if not d or d.generation ~= generation then return GONE, 0, '' end
  if d.epoch ~= epoch then return FENCED, d.length, '' end
  if is_repeated(log, d, first, count, length, payload, ending) then return ACCEPTED, 0, d.stop end
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
