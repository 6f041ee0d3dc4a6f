-- Read what the index says of a stream.
--
-- Returns the time, and the entry or ''

return {digits(clock()), redis.call('GET', KEYS[1]) or ''}
