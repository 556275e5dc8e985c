#!lua flags=no-writes
-- The groups of ready tasks that are not empty. One that no worker looks at is named in the set although
-- its tasks have gone.

local prefix = KEYS[1] .. ':'
local call = redis.call
local found = {}
for _, group in ipairs(call('SMEMBERS', prefix .. 'groups')) do
  local free = prefix .. 'r:' .. #group .. ':' .. group
  if call('EXISTS', free, prefix .. 'rp:' .. group) > 0 then table.insert(found, group) end
end
return found
