-- Say that a stream runs, or go on saying so, unless somebody else has said something of it.
--
-- KEYS  1 sentinel
-- ARGV  1 the number it starts from  2 how far callers may count it up  3 expiry in milliseconds
--       4 '1': a number that another process of ours started from may be replaced
-- Returns 1, or 0: the id is taken

local found = redis.call('GET', KEYS[1])
local first, span, number = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(found or '')
if number and number >= first and number < first + span then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return 1
end
if not found or (ARGV[4] == '1' and number and number >= span) then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
  return 1
end
return 0
