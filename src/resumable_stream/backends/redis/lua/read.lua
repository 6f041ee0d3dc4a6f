-- Read a stream's description, and its entries from the one that contains a chunk.
--
-- KEYS  1 record  2 log
-- ARGV  1 index of that chunk  2 how many bytes of entries end the page  3 how many entries end it
-- Returns {description, {entry, ...}}

local FIRST_STEP, GROWTH, MAX_STEP = 4, 4, 1024 -- entries per LRANGE
local log, index, max_bytes, max_entries = KEYS[2], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

-- Return at which position the entry is that contains the chunk, and its size; nothing if it is not there. Where the entries are
-- equally large it is found at once; halving every other time bounds the search where they are not.
local function find(length)
  local low, high = 0, redis.call('LLEN', log) - 1 -- positions where it may be
  local first, stop = 0, length -- chunks of the entries there
  local is_halving = false
  while low <= high do
    local share = is_halving and 0.5 * (stop - first) or index - first
    local at = low + math.floor((high - low + 1) * share / (stop - first))
    local entry = redis.call('LINDEX', log, at)
    local its_first, count = string.match(entry, '^(%d+)%-(%d+) ')
    if not its_first then return at, #entry end -- not one of ours: whoever reads it will say so
    its_first, count = tonumber(its_first), tonumber(count)
    if index < its_first then
      high, stop = at - 1, its_first
    elseif index >= its_first + count then
      low, first = at + 1, its_first + count
    else
      return at, #entry
    end
    is_halving = not is_halving
  end
end

-- As many at once as will fill the page if they are like those before. Where they are not, as when large ones follow small ones,
-- little is fetched in vain, since it is no more than a few times what was seen.
local function step_for(missing_bytes, entry_bytes, limit)
  return math.max(1, math.min(math.ceil(missing_bytes / entry_bytes), limit, MAX_STEP))
end

local d = describe(KEYS[1], clock())
local page, count, bytes = {}, 0, 0
if d and max_bytes > 0 and index < d.length then
  local at, size = find(d.length)
  local step = at and step_for(max_bytes, size, FIRST_STEP)
  while at and bytes < max_bytes and count < max_entries do
    local entries = redis.call('LRANGE', log, at, at + step - 1)
    for _, entry in ipairs(entries) do
      if bytes >= max_bytes then break end
      count = count + 1
      page[count] = entry
      bytes = bytes + #entry
    end
    if #entries < step then break end
    at = at + step
    step = step_for(max_bytes - bytes, bytes / count, GROWTH * count)
  end
end
return {reply(d), page}
