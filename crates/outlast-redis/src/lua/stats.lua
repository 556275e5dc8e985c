#!lua flags=allow-oom
-- Tasks by kind. The counts are kept with every change; they are made anew, by looking at every task,
-- where they are missing. Replies with kinds, the values of `tool`, `owner`, `phase` and `standing` as a
-- JSON list, and how many tasks are of each, in turn.

local prefix = KEYS[1] .. ':'
local call = redis.call
local counts = prefix .. 'counts'
if call('EXISTS', counts) == 0 then
  local first = 0
  repeat
    local page = call('ZRANGE', prefix .. 'all', first, first + 999)
    for _, id in ipairs(page) do
      local fields = call('HMGET', prefix .. 't:' .. id, 'tool', 'owner', 'phase', 'standing')
      if fields[3] then call('HINCRBY', counts, cjson.encode(fields), 1) end
    end
    first = first + 1000
  until #page == 0
end
return call('HGETALL', counts)
