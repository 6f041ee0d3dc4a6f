-- Remove an entry from the index of an owner.
--
-- ARGV  the entry

return redis.call('ZREM', KEYS[1], ARGV[1])
