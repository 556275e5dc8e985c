#!lua flags=no-writes
-- The ready tasks of one tool version, in and out of suspicion, lane by lane: its name, how many to pass
-- over, and how many to find.

local prefix = KEYS[1] .. ':'
local call = redis.call
local skip, limit = tonumber(ARGV[2]), tonumber(ARGV[3])
local found = {}
for _, suspect in ipairs({'0', '1'}) do
  local group = suspect .. ARGV[1]
  local lanes = call('HKEYS', prefix .. 'rp:' .. group)
  table.sort(lanes)
  table.insert(lanes, 1, '')
  for _, lane in ipairs(lanes) do
    if #found == limit then return found end
    local key = prefix .. 'r:' .. #group .. ':' .. group .. lane
    local size = call('ZCARD', key)
    if skip >= size then
      skip = skip - size
    else
      for _, member in ipairs(call('ZRANGE', key, skip, skip + limit - #found - 1)) do
        table.insert(found, string.sub(member, 17))
      end
      skip = 0
    end
  end
end
return found
