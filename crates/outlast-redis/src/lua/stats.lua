#!lua flags=no-writes
-- How many members some sorted sets have.

local counts = {}
for _, name in ipairs(ARGV) do
  table.insert(counts, redis.call('ZCARD', KEYS[1] .. ':' .. name))
end
return counts
