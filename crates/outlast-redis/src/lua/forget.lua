#!lua flags=allow-oom
-- Takes a task that has no record, or none that can be read, out of the indexes: its id, and how long
-- what there is of it is kept (or nothing).

local prefix = KEYS[1] .. ':'
local call = redis.call
local id = ARGV[1]
-- Nobody knows of which kind it was: the counts are made anew.
call('DEL', prefix .. 'counts')
local sequence = call('ZSCORE', prefix .. 'all', id)
if sequence then call('ZREM', prefix .. 'due', string.format('%012x', tonumber(sequence)) .. id) end
for _, set in ipairs({'all', 'p:scheduled', 'p:queued', 'p:blocked', 'p:running', 'p:suspended', 'p:finished'}) do
  call('ZREM', prefix .. set, id)
end
for _, owner in ipairs(call('SMEMBERS', prefix .. 'owners')) do
  call('ZREM', prefix .. 'own:' .. owner, id)
end
call('DEL', prefix .. 'kids:' .. id, prefix .. 'dep:' .. id)
if ARGV[2] ~= '' then
  for _, key in ipairs({'t:', 'd:', 'e:', 'j:', 's:', 'l:', 'b:'}) do
    call('PEXPIRE', prefix .. key .. id, ARGV[2])
  end
  -- There is no task with this id any more.
  for _, key in ipairs({'t:', 'd:'}) do
    if call('EXISTS', prefix .. key .. id) == 1 then
      call('RENAME', prefix .. key .. id, prefix .. 'aside:' .. key .. id)
    end
  end
end
return 1
