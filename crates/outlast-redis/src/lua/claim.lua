-- Gives ready tasks to a worker: now, origin, limit, who claims.

local now = tonumber(ARGV[1])
local by = read_by(4)
local notices = {}
local given = claim(by, tonumber(ARGV[3]), now, notices)
publish(ARGV[2], '', notices)
return {given, notices}
