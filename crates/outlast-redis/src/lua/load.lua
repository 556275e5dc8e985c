#!lua flags=no-writes
-- Reads records as they stand at one moment: their ids.

local prefix = KEYS[1] .. ':'
local call = redis.call
local loaded = {}
for _, id in ipairs(ARGV) do
  table.insert(loaded, {call('HGETALL', prefix .. 't:' .. id),
    call('HMGET', prefix .. 'd:' .. id, 'spec', 'state', 'outcome')})
end
return loaded
