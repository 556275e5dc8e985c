-- Announces rates that have opened, and forgets those that stand as if they had never been used: now,
-- origin.

local now = tonumber(ARGV[1])
local opened = open_rates(now)
call('ZREMRANGEBYSCORE', prefix .. 'opening', '-inf', int(now))
call('ZREMRANGEBYSCORE', prefix .. 'rates', '-inf', int(now * 1000))
if #opened > 0 then publish(ARGV[2], 'R', {}) end
return #opened
