-- Read a stream's description, and its entries from the one that contains a chunk.
--
-- KEYS  1 record  2 log
-- ARGV  1 index of that chunk  2 how many bytes of payload end the page  3 how many entries end it
-- Returns {description, {id, payload, id, payload, ...}}

local STEP = 64 -- entries per XRANGE: what is fetched in vain when the bytes are reached
local log, max_bytes, max_entries = KEYS[2], tonumber(ARGV[2]), tonumber(ARGV[3])
local d = describe(KEYS[1], clock())
local page = {}
if not d or max_bytes == 0 or tonumber(ARGV[1]) >= d.length then return {reply(d), page} end

-- An incomplete id as the upper end means the last id with that first part: the entry that contains the chunk.
local holder = redis.call('XREVRANGE', log, ARGV[1], '-', 'COUNT', 1)
local from = holder[1] and holder[1][1] or '-'
local bytes = 0
while bytes < max_bytes and #page < max_entries * 2 do
  local entries = redis.call('XRANGE', log, from, '+', 'COUNT', STEP)
  for _, entry in ipairs(entries) do
    if bytes >= max_bytes then break end
    page[#page + 1] = entry[1]
    page[#page + 1] = entry[2][2]
    bytes = bytes + #entry[2][2]
    from = '(' .. entry[1]
  end
  if #entries < STEP then break end
end
return {reply(d), page}
