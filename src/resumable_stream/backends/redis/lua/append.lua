-- Log chunks and record ends of many streams, each atomically, and push them to whoever follows.
--
-- KEYS  for each append: record, log
-- ARGV  PUBLISH or SPUBLISH
--       for each append: channel, head, head after it, id of the entry, payload; the last two are empty without chunks
--       for each append that ends its stream: its number from 0 on, the end
-- Returns four values in one flat list for each append that was not simply accepted, which most are: its number from 0 on,
--       status, length, the end to record if a stop was asked else ''
--       status: 0 accepted, 1 fenced, 2 gone, 3 misplaced, 4 unusable; length: 0 if accepted

local ACCEPTED, FENCED, GONE, MISPLACED, UNUSABLE = 0, 1, 2, 3, 4
local now = clock()
local now_text = integer(now)

-- Times are compared as text, where that can be: making numbers of text, and text of numbers, is slow. Most streams have the
-- same lease, so what follows from it is made once for all of them.
local leases = {}
local function lease_of(text)
  local lease = leases[text]
  if not lease then
    local leased_until = integer(now + text)
    lease = {ms = tonumber(text), leased_until = leased_until, renewal = renewal_of(leased_until)}
    leases[text] = lease
  end
  return lease
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

-- Log, renew the lease or record the end, and push. False, and nothing is done, if the log has gone.
local function accept(meta, log, channel, leased_until, lease, created_at, next_head, id, payload, ending)
  local is_first = string.sub(id, 1, 2) == '0-' -- which makes the log
  if id ~= '' then
    local entry = id .. ' ' .. age(created_at, now) .. '\n' .. payload
    if redis.call(is_first and 'RPUSH' or 'RPUSHX', log, entry) == 0 then return false end
  end
  if ending == '' then
    redis.call('HSET', meta, 'head', next_head, 'leased_until', lease.leased_until)
    if is_first or renewal_of(leased_until) ~= lease.renewal then
      expire_as_agreed(meta, log, lease.ms + RENEWAL)
    end
  else
    redis.call('HSET', meta, 'head', next_head, 'leased_until', 0, 'state', state_of(ending), 'end', ending, 'ended_at',
      now_text)
    expire_as_agreed(meta, log, 0)
  end
  if id ~= '' or ending ~= '' then
    redis.pcall(ARGV[1], channel, next_head .. ' ' .. id .. ' ' .. ending .. '\n' .. payload)
  end
  return true
end

-- Whether this is what was accepted last: then its reply was lost, and it is accepted again.
local function is_repeated(log, d, length, id, payload, ending)
  if d.length ~= tonumber(length) or d.stored_end ~= ending then return false end
  if id == '' then return ending ~= '' end
  local last = redis.call('LINDEX', log, -1)
  if not last then return false end
  local last_id, last_payload = string.match(last, '^(%S+) %d+\n(.*)$')
  return last_id == id and last_payload == payload
end

local function append(meta, log, channel, head, next_head, id, payload, ending)
  local f = redis.call('HMGET', meta, 'head', 'leased_until', 'lease', 'created_at', 'stop')
  if f[1] == head and f[2] >= now_text then -- a stream that runs, whose owner goes on where its log ends
    if accept(meta, log, channel, f[2], lease_of(f[3]), f[4], next_head, id, payload, ending) then
      return ACCEPTED, 0, f[5] or ''
    end
    local _, _, length = parse_head(head)
    return MISPLACED, tonumber(length), ''
  end
  local d = describe(meta, now)
  local generation, epoch, length = parse_head(next_head)
  if not d or d.generation ~= generation then return GONE, 0, '' end
  if d.epoch ~= epoch then return FENCED, d.length, '' end
  if is_repeated(log, d, length, id, payload, ending) then return ACCEPTED, 0, d.stop end
  if d.has_ended then return FENCED, d.length, '' end
  return MISPLACED, d.length, ''
end

-- One stream's key that somebody else wrote is not to keep the others from being appended to. Whatever else can go wrong
-- does so before the first write, and for all of them.
local function is_wrong_type(problem)
  return string.find(type(problem) == 'table' and problem.err or tostring(problem), 'WRONGTYPE', 1, true)
end

local number = #KEYS / 2
local ends = {}
for i = number * 5 + 2, #ARGV, 2 do ends[tonumber(ARGV[i])] = ARGV[i + 1] end
local answers = {}
for i = 0, number - 1 do
  local k, a = i * 2, i * 5 + 1
  local ok, status, length, stop = pcall(append, KEYS[k + 1], KEYS[k + 2], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4],
    ARGV[a + 5], ends[i] or '')
  if not ok then
    if not is_wrong_type(status) then error(status) end
    status, length, stop = UNUSABLE, 0, ''
  end
  if status ~= ACCEPTED or stop ~= '' then
    local n = #answers
    answers[n + 1], answers[n + 2], answers[n + 3], answers[n + 4] = i, status, length, stop
  end
end
return answers
