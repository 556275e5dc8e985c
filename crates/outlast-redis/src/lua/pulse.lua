#!lua
-- The time of the store, and a sign of life: the latest time that the caller has seen (or `0`), how
-- far back the server's clock must have stepped to be put right, and after how long a silence of
-- everybody there was an outage. Replies with the time, the end of the last outage, and which beginning
-- of a store this is (nothing if there is none).
--
-- `clock` keeps the last sign of life of anybody, how much is added to the server's time so that the
-- store's never goes back, and the end of the last outage.

local key = KEYS[1] .. ':clock'
local call = redis.call
local function int(number) return string.format('%.0f', number) end
local time = call('TIME')
local server = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local kept = call('HMGET', key, 'offset', 'last', 'outage')
local offset, last = tonumber(kept[1] or '0'), tonumber(kept[2] or '0')
local outage = tonumber(kept[3] or '0')
local now = server + offset
local latest = math.max(last, tonumber(ARGV[1]))
if latest - now > tonumber(ARGV[2]) then
  offset = offset + latest - now
  now = latest
  call('HSET', key, 'offset', int(offset))
end
if last > 0 and now - last > tonumber(ARGV[3]) then
  outage = now
  call('HSET', key, 'outage', int(outage))
end
-- Written seldom, however many there are to give one.
if now - last >= 500 then call('HSET', key, 'last', int(now)) end
return {int(now), int(outage), call('HGET', KEYS[1] .. ':meta', 'begun') or ''}
