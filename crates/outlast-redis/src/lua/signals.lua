#!lua flags=no-writes
-- A task's signals of one name: id, name, the number to begin behind, how many at most.

local key, found = KEYS[1] .. ':s:' .. ARGV[1], {}
local number, limit = tonumber(ARGV[3]), tonumber(ARGV[4])
while #found < limit do
  number = number + 1
  local signal = redis.call('HGET', key, 'n' .. string.format('%.0f', number) .. ':' .. ARGV[2])
  if not signal then break end
  table.insert(found, signal)
end
return found
