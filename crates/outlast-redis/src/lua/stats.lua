#!lua flags=no-writes
-- Counts tasks along the index of all of them, some at a time: the sequence above which to look (or
-- `-inf`) and how many to look at. Replies with where to look on (empty at the end) and, alternating,
-- the values of `tool`, `owner`, `phase` and `status` as a JSON list and how many tasks have them.

local prefix = KEYS[1] .. ':'
local call = redis.call
local counts, order = {}, {}
local page = call('ZRANGEBYSCORE', prefix .. 'all', ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0,
  tonumber(ARGV[2]))
if #page == 0 then return {'', {}} end
for index = 1, #page, 2 do
  local fields = call('HMGET', prefix .. 't:' .. page[index], 'tool', 'owner', 'phase', 'status')
  if fields[3] then
    local kind = cjson.encode(fields)
    if not counts[kind] then
      counts[kind] = 0
      table.insert(order, kind)
    end
    counts[kind] = counts[kind] + 1
  end
end
local reply = {}
for _, kind in ipairs(order) do
  table.insert(reply, kind)
  table.insert(reply, counts[kind])
end
return {'(' .. page[#page], reply}
