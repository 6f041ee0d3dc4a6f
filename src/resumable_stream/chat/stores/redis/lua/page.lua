-- Read entries of the index of an owner, the newest first.
--
-- ARGV  the entry that they come after, or '' for the newest; how many
-- Returns the time, and the entries

local from = ARGV[1] == '' and '+' or '(' .. ARGV[1]
return {digits(clock()), redis.call('ZREVRANGEBYLEX', KEYS[1], from, '-', 'LIMIT', 0, ARGV[2])}
