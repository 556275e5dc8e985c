#!lua flags=no-writes
-- Reads what an end that spreads from task to task asks for next: how many records at most, and the
-- tasks to begin at. Replies with {id, its dependants, its children} of each task that was looked behind,
-- and {id, fields, long values} of each that was found there.

local prefix = KEYS[1] .. ':'
local call = redis.call
local most = tonumber(ARGV[1])
local begin = #ARGV - 1
local queue, known = {}, {}
for index = 2, #ARGV do
  table.insert(queue, ARGV[index])
  known[ARGV[index]] = true
end
local families, records = {}, {}
local place = 1
while place <= #queue and #records < most do
  local id = queue[place]
  local ended = false
  if place > begin then
    table.insert(records, {id, call('HGETALL', prefix .. 't:' .. id),
      call('HMGET', prefix .. 'd:' .. id, 'spec', 'state', 'outcome')})
    ended = call('HGET', prefix .. 't:' .. id, 'ended') == '1'
  end
  if not ended then
    local behind = {call('ZRANGE', prefix .. 'dep:' .. id, 0, -1),
      call('ZRANGE', prefix .. 'kids:' .. id, 0, -1)}
    table.insert(families, {id, behind[1], behind[2]})
    for _, ids in ipairs(behind) do
      for _, other in ipairs(ids) do
        if not known[other] then
          known[other] = true
          table.insert(queue, other)
        end
      end
    end
  end
  place = place + 1
end
return {families, records}
