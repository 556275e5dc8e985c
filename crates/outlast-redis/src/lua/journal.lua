#!lua flags=no-writes
-- A page of a journal: id, the prefix of the kind, the name to begin behind, how many at most.

local key = KEYS[1] .. ':j:' .. ARGV[1]
local kind, after = ARGV[2], ARGV[2] .. ARGV[3]
local names = {}
for _, name in ipairs(redis.call('HKEYS', key)) do
  if string.sub(name, 1, #kind) == kind and name > after then table.insert(names, name) end
end
table.sort(names)
local page = {}
for index = 1, math.min(#names, tonumber(ARGV[4])) do
  table.insert(page, redis.call('HGET', key, names[index]))
end
return page
