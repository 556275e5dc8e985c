-- Gives ready tasks to a worker: now, origin, limit, who claims.

local now = tonumber(ARGV[1])
local by = read_by(4)
local notices = {}
local limit = tonumber(ARGV[3])
local given = claim(by, limit, now, notices)
publish(ARGV[2], '', notices)
-- Only whoever asks needs to know: the others have been told of these tasks before.
if #given == limit and first_ready(by, by.suspects, now) then table.insert(notices, 'R') end
return {given, notices}
