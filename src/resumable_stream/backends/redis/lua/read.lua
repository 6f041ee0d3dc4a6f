-- Read a stream's description, and its entries from the one that contains a chunk.
--
-- KEYS  1 record  2 log
-- ARGV  1 index of that chunk  2 how many bytes of payload end the page  3 how many entries end it
-- Returns {description, {id, payload, id, payload, ...}, when each was logged: numbers of ms since created_at in one text,
--       since many small replies would take as long as the payloads. -1: it does not say}

local MAX_STEP = 512 -- entries per XRANGE
local log, max_bytes, max_entries = KEYS[2], tonumber(ARGV[2]), tonumber(ARGV[3])
local d = describe(KEYS[1], clock())
local page, times = {}, {}
if not d or max_bytes == 0 or tonumber(ARGV[1]) >= d.length then return {reply(d), page, ''} end

-- An incomplete id as the upper end means the last id with that first part: the entry that contains the chunk.
local holder = redis.call('XREVRANGE', log, ARGV[1], '-', 'COUNT', 1)
local from = holder[1] and holder[1][1] or '-'
-- As many at once as will fill the page if they are like those before, so that little is fetched in vain.
local bytes, step = 0, holder[1] and math.min(math.ceil(max_bytes / #holder[1][2][2]), MAX_STEP) or MAX_STEP
while bytes < max_bytes and #times < max_entries do
  local entries = redis.call('XRANGE', log, from, '+', 'COUNT', step)
  for _, entry in ipairs(entries) do
    if bytes >= max_bytes then break end
    page[#page + 1] = entry[1]
    page[#page + 1] = entry[2][2]
    times[#times + 1] = entry[2][4] or '-1'
    bytes = bytes + #entry[2][2]
    from = '(' .. entry[1]
  end
  if #entries < step then break end
  step = math.max(1, math.min(math.ceil((max_bytes - bytes) * #times / math.max(bytes, 1)), MAX_STEP))
end
return {reply(d), page, table.concat(times, ' ')}
