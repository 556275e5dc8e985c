#!lua flags=no-writes
-- Looks along indexes for tasks, the latest first: the keys of the indexes as a JSON list, the sequence
-- below which to look (or `+inf`), how many to find and how many to look at, the values wanted of the
-- fields `owner`, `tool`, `phase` and `standing`, each a JSON list (empty for all), and `oldest` to look the
-- other way, above a sequence (or `-inf`). Replies with the sequence of the last one looked at (empty at
-- the end) and the records.

local prefix = KEYS[1] .. ':'
local call = redis.call
local wanted = {}
for index = 5, 8 do
  local values = cjson.decode(ARGV[index])
  if #values > 0 then
    local set = {}
    for _, value in ipairs(values) do set[value] = true end
    wanted[index - 4] = set
  end
end
local indexes = cjson.decode(ARGV[1])
local range, last = 'ZREVRANGEBYSCORE', '-inf'
if ARGV[9] == 'oldest' then range, last = 'ZRANGEBYSCORE', '+inf' end

-- Up to `most` of the next tasks and their sequences in turn, of several indexes in the order of one.
local function next_page(below, most)
  local pages = {}
  for _, index in ipairs(indexes) do
    local page = call(range, prefix .. index, below, last, 'WITHSCORES', 'LIMIT', 0, most)
    if #page > 0 then table.insert(pages, page) end
  end
  if #pages < 2 then return pages[1] or {} end
  local all = {}
  for _, page in ipairs(pages) do
    for place = 1, #page, 2 do
      table.insert(all, {page[place], page[place + 1], tonumber(page[place + 1])})
    end
  end
  local oldest = ARGV[9] == 'oldest'
  table.sort(all, function(one, other)
    if oldest then return one[3] < other[3] end
    return one[3] > other[3]
  end)
  local merged = {}
  for place = 1, math.min(most, #all) do
    table.insert(merged, all[place][1])
    table.insert(merged, all[place][2])
  end
  return merged
end

local found, looked = {}, 0
local below = ARGV[2]
local budget, limit = tonumber(ARGV[4]), tonumber(ARGV[3])
while looked < budget and #found < limit do
  local page = next_page(below, math.min(100, budget - looked))
  if #page == 0 then return {'', found} end
  for index = 1, #page, 2 do
    local id = page[index]
    looked = looked + 1
    below = '(' .. page[index + 1]
    local fields = call('HMGET', prefix .. 't:' .. id, 'owner', 'tool', 'phase', 'standing')
    local matches = fields[3] ~= false
    for field, set in pairs(wanted) do matches = matches and set[fields[field]] end
    if matches then
      table.insert(found, {call('HGETALL', prefix .. 't:' .. id),
        call('HMGET', prefix .. 'd:' .. id, 'spec', 'state', 'outcome')})
      if #found == limit then break end
    end
  end
end
return {below, found}
