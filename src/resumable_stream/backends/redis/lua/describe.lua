-- Prelude of the other scripts: what a stream's record says, judged by the server's clock.
--
-- The record is a hash:
--   head                           {generation} {epoch} {length}: who may append, and how many chunks are logged
--   owner                          the token of the newest claim
--   epoch_start                    chunks that were logged when the newest epoch began
--   takeovers                      {epoch}:{length}:{ms since created_at} of the newest epochs, with a blank between them;
--                                  absent until the first takeover
--   lease, retention, tombstone    the owner's terms, in ms
--   leased_until                   when the publisher counts as lost, in ms since 1970; 0 once the stream has ended
--   created_at                     in ms since 1970
--   state, end, ended_at           the final state, its details as JSON, and when; absent while running
--   stop                           set when someone asked the publisher to stop: the end to record then, as JSON
-- The log is a list of entries, which is read several times faster in a script than a stream of them:
--   {first}-{count} {ms}\n{payload}
-- the payload of chunks first .. first+count-1, and when it was logged, in ms since created_at: a small number takes little room.

local RENEWAL = 1000 -- ms within which an append renews the expiries, which saves most appends three commands; they allow for it
local function renewal_of(time) -- in which of these it is, by a time's text without its last three digits
  return string.sub(time, 1, -4)
end
local GRACE = 60000 -- entries outlive the retention by this, in ms, for readers who joined before

local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Whole numbers as Redis wants them: tostring() would round 1.7e12.
local function integer(number)
  return string.format('%.0f', number)
end

local function parse_head(head)
  return string.match(head, '^(%S+) (%d+) (%d+)$')
end

-- Returns nil if there is no record.
local function describe(meta, now)
  local f = redis.call('HMGET', meta, 'head', 'created_at', 'leased_until', 'retention', 'tombstone', 'state', 'end',
    'ended_at', 'owner', 'stop', 'epoch_start', 'takeovers')
  if not f[1] then return nil end
  local generation, epoch, length = parse_head(f[1])
  local d = {
    generation = generation, epoch = epoch, length = tonumber(length), created_at = f[2], leased_until = tonumber(f[3]),
    retention = tonumber(f[4]), tombstone = tonumber(f[5]), state = f[6] or 'running',
    stored_end = f[7] or '', ended_at = tonumber(f[8] or 0), owner = f[9],
    stop = f[10] or '', epoch_start = f[11] or 0, takeovers = f[12] or '', lease_left = 0,
  }
  d.ending = d.stored_end
  if d.state == 'running' then
    d.lease_left = d.leased_until - now
    if d.lease_left < 0 then
      d.state, d.ended_at = 'lost', d.leased_until
      if d.stop ~= '' then
        d.state, d.ending, d.lease_left = 'stopped', d.stop, 0
      end
    end
  end
  d.has_ended = d.state ~= 'running'
  d.is_readable = not d.has_ended or now < d.ended_at + d.retention
  d.is_id_free = d.has_ended and now >= d.ended_at + d.retention + d.tombstone
  return d
end

-- The reply from which a description is decoded; an empty one says that there is no record.
local function reply(d)
  if not d then return {} end
  return {d.generation, d.epoch, d.length, d.created_at, d.state, d.ending, integer(d.ended_at),
    d.is_readable and 1 or 0, d.is_id_free and 1 or 0, d.epoch_start, integer(d.lease_left), d.takeovers}
end

-- How long ago the stream was created, in ms, for the record: 0 if the clock went back, as after a failover.
local function age(created_at, now)
  local ms = now - created_at
  if ms < 0 then return '0' end
  return ms < 2147483648 and string.format('%d', ms) or integer(ms) -- which takes twice as long
end

-- Both keys expire by themselves, whatever becomes of the publisher; from_now: ms until the stream ends at the latest.
local function expire(meta, log, from_now, retention, tombstone)
  redis.call('PEXPIRE', log, integer(from_now + retention + GRACE))
  redis.call('PEXPIRE', meta, integer(from_now + retention + math.max(tonumber(tombstone), GRACE)))
end

-- Tell who publishes a stream that there is news. Like every push a hint, so it may fail.
local function notify(channel, stream_id)
  redis.pcall('PUBLISH', channel, stream_id)
end
