#!lua flags=no-writes
-- What is due: now, and how many tasks at most; with none, no schedules either. Replies with the members
-- of the index, the first moment in it, whether rates have opened and when the next one will, the schedules that are due, each by its name
-- and then its record, and when the next one is.

local prefix = KEYS[1] .. ':'
local call = redis.call
local due = call('ZRANGEBYSCORE', prefix .. 'due', '-inf', ARGV[1], 'LIMIT', 0, tonumber(ARGV[2]))
local first = call('ZRANGE', prefix .. 'due', 0, 0, 'WITHSCORES')
local opened = call('ZCOUNT', prefix .. 'opening', '-inf', ARGV[1])
local opening = call('ZRANGEBYSCORE', prefix .. 'opening', '(' .. ARGV[1], '+inf', 'WITHSCORES',
  'LIMIT', 0, 1)
local schedules = {}
local names = {}
if ARGV[2] ~= '0' then names = call('ZRANGEBYSCORE', prefix .. 'schedules', '-inf', ARGV[1]) end
for _, name in ipairs(names) do
  table.insert(schedules, name)
  table.insert(schedules, call('GET', prefix .. 'sch:' .. name))
end
local next = call('ZRANGEBYSCORE', prefix .. 'schedules', '(' .. ARGV[1], '(+inf', 'WITHSCORES',
  'LIMIT', 0, 1)
return {due, first[2] or '', opened, opening[2] or '', schedules, next[2] or ''}
